/**
 * Requests between services over core NATS: `drover.rpc.<service>.<method>`, one answer, progress on the way. Errors keep their code.
 */
import { CATALOGUE, type Closeable, DroverError, describeError, type ErrorCode } from '@drover/core';
import type { Msg } from '@nats-io/transport-node';
import type { Bus } from './connect.ts';

export interface RpcContext {
  /** Tells the caller how far the work is; also resets its idle timeout. */
  progress(update: unknown): void;
  readonly signal: AbortSignal;
}

type Reply =
  | { readonly kind: 'progress'; readonly update: unknown }
  | { readonly kind: 'result'; readonly value: unknown }
  | { readonly kind: 'error'; readonly code: string; readonly message: string; readonly hint?: string };

const subject = (method: string) => `drover.rpc.${method}`;

/** Serves `<service>.<method>`; several processes share the requests. */
export function serveRpc(
  bus: Bus,
  method: string,
  handler: (request: unknown, context: RpcContext) => Promise<unknown>,
): Closeable {
  const stop = new AbortController();
  const running = new Set<Promise<void>>();
  const answer = async (message: Msg) => {
    const send = (reply: Reply) => message.respond(JSON.stringify(reply));
    try {
      const request: unknown = message.data.length === 0 ? {} : message.json();
      const value = await handler(request, {
        progress: (update) => send({ kind: 'progress', update }),
        signal: stop.signal,
      });
      send({ kind: 'result', value: value ?? null });
    } catch (error) {
      const code = error instanceof DroverError ? error.code : 'internal.assertion';
      const hint = error instanceof DroverError && error.hint !== undefined ? { hint: error.hint } : {};
      send({
        kind: 'error',
        code,
        message: error instanceof DroverError ? error.message : describeError(error),
        ...hint,
      });
    }
  };
  const subscription = bus.nc.subscribe(subject(method), {
    queue: 'drover',
    callback: (error, message) => {
      if (error !== null) return;
      const work: Promise<void> = answer(message).finally(() => running.delete(work));
      running.add(work);
    },
  });
  return {
    close: async () => {
      subscription.unsubscribe();
      stop.abort();
      await Promise.all(running);
    },
  };
}

export interface CallOptions {
  /** Longest silence, milliseconds; progress resets it. */
  readonly timeoutMs: number;
  readonly onProgress?: (update: unknown) => void;
  readonly signal?: AbortSignal;
}

/** @throws what the handler threw (a DroverError with its code), or `rpc.unavailable` when nobody serves or answers. */
export function callRpc(bus: Bus, method: string, request: unknown, options: CallOptions): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const inbox = `_INBOX.drover.${crypto.randomUUID()}`;
    const finish = (act: () => void) => {
      clearTimeout(timer);
      subscription.unsubscribe();
      options.signal?.removeEventListener('abort', onAbort);
      act();
    };
    const onAbort = () => finish(() => reject(new DroverError('internal.cancelled', 'cancelled')));
    const onTimeout = () =>
      finish(() =>
        reject(new DroverError('rpc.unavailable', `${method} did not answer within ${options.timeoutMs} ms`)),
      );
    let timer = setTimeout(onTimeout, options.timeoutMs);
    const subscription = bus.nc.subscribe(inbox, {
      callback: (error, message) => {
        if (error !== null || message.headers?.code === 503) {
          finish(() =>
            reject(
              new DroverError('rpc.unavailable', `nobody serves ${method}`, {
                hint: 'is the service running? `drover status`',
              }),
            ),
          );
          return;
        }
        const reply = message.json<Reply>();
        if (reply.kind === 'progress') {
          clearTimeout(timer);
          timer = setTimeout(onTimeout, options.timeoutMs);
          options.onProgress?.(reply.update);
        } else if (reply.kind === 'result') {
          finish(() => resolve(reply.value));
        } else {
          const code = reply.code in CATALOGUE ? (reply.code as ErrorCode) : 'internal.assertion';
          finish(() =>
            reject(
              new DroverError(code, reply.message, reply.hint === undefined ? {} : { hint: reply.hint }),
            ),
          );
        }
      },
    });
    if (options.signal?.aborted) {
      onAbort();
      return;
    }
    options.signal?.addEventListener('abort', onAbort, { once: true });
    bus.nc.publish(subject(method), JSON.stringify(request ?? {}), { reply: inbox });
  });
}
