/**
 * Is a cluster there, seen from this proxy? A tiny connection of its own asks `select 1`, so that a dead cluster is noticed even while no
 * client works on it. What is seen goes to `drover.health.<id>`; the failover controller judges.
 */
import { type ClusterId, describeError, sleep } from '@drover/core';
import type { Backend } from '../pool/backend.ts';
import { type BackendTarget, connectBackend } from '../pool/connect.ts';
import { query } from '../protocol/builders.ts';

export interface Observation {
  readonly observer: string;
  readonly kind: 'proxy';
  readonly cluster: ClusterId;
  /** ISO time. */
  readonly at: string;
  readonly signals: { readonly connect: Signal; readonly query: Signal };
}
type Signal = 'ok' | 'fail' | 'unknown';

/** A new connection is tried this often although the old one works: a frozen postmaster still serves old ones. */
const RECONNECT_EVERY = 10;

export interface ObserverOptions {
  readonly id: string;
  readonly cluster: ClusterId;
  readonly target: BackendTarget;
  readonly everyMs: number;
  readonly timeoutMs: number;
  readonly report: (observation: Observation, error: string | undefined) => void;
  readonly signal: AbortSignal;
}

export async function observe(options: ObserverOptions): Promise<void> {
  const { signal, timeoutMs } = options;
  let backend: Backend | null = null;
  for (let round = 0; !signal.aborted; round++) {
    const begun = performance.now();
    let connect: Signal = 'ok';
    let query: Signal = 'unknown';
    let why: string | undefined;
    if (round % RECONNECT_EVERY === 0 || backend === null || backend.closed) {
      try {
        const fresh = await connectBackend(options.target, { timeoutMs, attach: false });
        backend?.destroy();
        backend = fresh;
      } catch (error) {
        connect = 'fail';
        why = describeError(error);
      }
    }
    if (backend !== null && !backend.closed) {
      query = (await answers(backend, timeoutMs)) ? 'ok' : 'fail';
      if (query === 'fail') backend.destroy();
    } else if (connect === 'fail') query = 'fail';
    if (signal.aborted) break;
    const at = new Date().toISOString();
    options.report(
      { observer: options.id, kind: 'proxy', cluster: options.cluster, at, signals: { connect, query } },
      why,
    );
    await sleep(Math.max(0, options.everyMs - (performance.now() - begun)), signal);
  }
  backend?.destroy();
}

/** Whether the server answers a trivial statement in time. */
function answers(backend: Backend, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const end = (ok: boolean) => {
      clearTimeout(timer);
      backend.owner = null;
      resolve(ok);
    };
    const timer = setTimeout(() => end(false), timeoutMs);
    let good = false;
    backend.owner = {
      onServerBytes: (chunk) => {
        // A row, and the ready message at the end of the last chunk.
        good ||= chunk.includes(0x44);
        if (chunk.length >= 6 && chunk[chunk.length - 6] === 0x5a) end(good);
      },
      onServerClosed: () => end(false),
      onServerDrain: () => undefined,
    };
    backend.send(query('SELECT 1'));
  });
}
