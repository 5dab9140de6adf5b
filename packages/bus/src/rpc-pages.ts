/**
 * Answers with many items: they travel as progress, page by page, each within one message whatever the server's limit; the result
 * says how many there were. Messages of core NATS may be lost, so the caller counts: it gets every item or an error.
 */
import { DroverError } from '@drover/core';
import type { Bus } from './connect.ts';
import { type CallOptions, callRpc, type RpcContext, type RpcHandler } from './rpc.ts';

/** A page holds one item at least, and no more than this, bytes of JSON: far below any limit of a server. */
const PAGE_BYTES = 48 * 1024;
/** Items of an answer; more are refused on both sides (I9). */
export const ANSWER_ITEMS_MAX = 200_000;

/** A handler whose items are sent in pages. The items are a snapshot: what changes meanwhile is not seen. */
export function paged(
  list: (request: unknown, context: RpcContext) => readonly unknown[] | Promise<readonly unknown[]>,
): RpcHandler {
  return async (request, context) => {
    const items = await list(request, context);
    if (items.length > ANSWER_ITEMS_MAX) throw tooMany();
    for (const page of pages(items, PAGE_BYTES)) context.progress({ page });
    return { items: items.length };
  };
}

/** Pure. In order; an item larger than `bytes` is a page of its own. */
export function* pages(items: readonly unknown[], bytes: number): Generator<unknown[]> {
  let page: unknown[] = [];
  let size = 0;
  for (const item of items) {
    const own = Buffer.byteLength(JSON.stringify(item)) + 1;
    if (page.length > 0 && size + own > bytes) {
      yield page;
      page = [];
      size = 0;
    }
    page.push(item);
    size += own;
  }
  if (page.length > 0) yield page;
}

/**
 * All items of a {@link paged} method.
 * @throws as callRpc; `rpc.unavailable` when a page was lost on the way: asking again is safe
 */
export async function callPaged(
  bus: Bus,
  method: string,
  request: unknown,
  options: Omit<CallOptions, 'onProgress'>,
): Promise<unknown[]> {
  const items: unknown[] = [];
  const enough = new AbortController();
  const signal =
    options.signal === undefined ? enough.signal : AbortSignal.any([options.signal, enough.signal]);
  const onProgress = (update: unknown) => {
    const page = pageOf(update);
    if (page === undefined) return;
    if (items.length + page.length > ANSWER_ITEMS_MAX) enough.abort();
    else for (const item of page) items.push(item);
  };
  const result = await callRpc(bus, method, request, { ...options, signal, onProgress }).catch(
    (error: unknown) => {
      throw enough.signal.aborted ? tooMany() : error;
    },
  );
  const said = totalOf(result);
  if (said === items.length) return items;
  if (said === undefined) throw new DroverError('rpc.invalid', `${method} does not answer in pages`);
  throw new DroverError('rpc.unavailable', `${method}: ${items.length} of ${said} items arrived`, {
    hint: 'ask again',
  });
}

function pageOf(update: unknown): readonly unknown[] | undefined {
  if (typeof update !== 'object' || update === null || !('page' in update)) return undefined;
  return Array.isArray(update.page) ? update.page : undefined;
}

function totalOf(result: unknown): number | undefined {
  if (typeof result !== 'object' || result === null || !('items' in result)) return undefined;
  return typeof result.items === 'number' ? result.items : undefined;
}

function tooMany(): DroverError {
  return new DroverError('rpc.invalid', `an answer has more than ${ANSWER_ITEMS_MAX} items; ask for less`);
}
