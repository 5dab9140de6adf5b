/** Logical messages inside blocks (docs/architecture.md, "Logical messages"). What does not parse is no message of ours. */
import { DroverError, type Lsn, parseLsn } from '@drover/core';
import { WITHHELD_PREFIX } from '@drover/pg';
import type { BlockMessage } from '../changes/decoded-block.ts';

export type ControlMessage =
  | {
      readonly kind: 'barrier';
      readonly tenant: string;
      readonly id: string;
      readonly pauseFor: { readonly target: string; readonly ms: number } | undefined;
    }
  | { readonly kind: 'epoch'; readonly tenant: string; readonly epoch: number }
  /** Unix milliseconds by the source's clock. */
  | { readonly kind: 'heartbeat'; readonly at: number }
  /** From this commit on the stream is whole; what was before it has lost. */
  | { readonly kind: 'begin'; readonly lsn: Lsn };

/** A pause is bounded whatever the message says: a lost migration must not hold a replica back for hours. */
const PAUSE_MS_MAX = 600_000;

export function parseMessage(message: BlockMessage): ControlMessage | undefined {
  let value: unknown;
  try {
    value = JSON.parse(message.content);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const get = (name: string, of: object = value as object): unknown => Reflect.get(of, name);
  switch (message.prefix) {
    case 'drover.barrier': {
      const [tenant, id, pause] = [get('tenant'), get('id'), get('pauseFor')];
      if (typeof tenant !== 'string' || typeof id !== 'string') return undefined;
      const [target, ms] =
        typeof pause === 'object' && pause !== null
          ? [get('target', pause), Number(get('ms', pause))]
          : [undefined, 0];
      const pauseFor =
        typeof target === 'string' && ms > 0 ? { target, ms: Math.min(ms, PAUSE_MS_MAX) } : undefined;
      return { kind: 'barrier', tenant, id, pauseFor };
    }
    case 'drover.epoch': {
      const tenant = get('tenant');
      const epoch = Number(get('epoch'));
      return typeof tenant === 'string' && Number.isSafeInteger(epoch)
        ? { kind: 'epoch', tenant, epoch }
        : undefined;
    }
    case 'drover.heartbeat': {
      const at = Number(get('at'));
      return Number.isFinite(at) ? { kind: 'heartbeat', at } : undefined;
    }
    case 'drover.begin': {
      const lsn = get('lsn');
      return typeof lsn === 'string' ? { kind: 'begin', lsn: parseLsn(lsn) } : undefined;
    }
    default:
      return undefined;
  }
}

/** @throws DroverError `apply.withheld` when the source says that it left out rows that it could not mask */
export function requireWhole(messages: readonly BlockMessage[]): void {
  for (const { prefix, content } of messages) {
    if (prefix !== WITHHELD_PREFIX) continue;
    const { table, why, key } = JSON.parse(content) as { table?: unknown; why?: unknown; key?: unknown };
    if (key === true) {
      throw new DroverError(
        'apply.withheld',
        'rows were withheld at the source: the tenant is sealed, and its key could not be had there',
        { hint: 'give the reader of the source the master key (`drover doctor`), then copy the tenant anew' },
      );
    }
    throw new DroverError(
      'apply.withheld',
      `rows of ${String(table)} were withheld at the source: ${String(why)}`,
      {
        hint: 'mend the rule or the table, then copy the tenant anew',
        facts: { table: String(table) },
      },
    );
  }
}
