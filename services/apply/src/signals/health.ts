/**
 * What the apply worker sees of its target, every half second on `drover.health.apply-<cluster>`: can it connect, and can the
 * server take a write. The probe is a connection of its own; a transaction that only takes a transaction id and rolls back
 * tells a writable primary from a standby or a server in recovery without leaving anything behind.
 */
import type { Bus } from '@drover/bus';
import { type ClusterId, sleep } from '@drover/core';
import { type ConnectOptions, connectPg, discard } from '@drover/pg';

const EVERY_MS = 500;
const TIMEOUT_MS = 1000;

type State = 'ok' | 'fail' | 'unknown';
type Client = Awaited<ReturnType<typeof connectPg>>;

/** Until the signal aborts; never throws. */
export async function observeTarget(
  bus: Bus,
  cluster: ClusterId,
  connect: ConnectOptions,
  signal: AbortSignal,
): Promise<void> {
  const observer = `apply-${cluster}`;
  let client: Client | undefined;
  while (!signal.aborted) {
    const signals: { connect: State; write: State } = { connect: 'fail', write: 'fail' };
    try {
      client ??= await connectPg({
        ...connect,
        applicationName: 'drover apply probe',
        connectTimeoutMs: TIMEOUT_MS,
      });
      signals.connect = 'ok';
      const ok = await within(client.query('BEGIN; SELECT pg_catalog.pg_current_xact_id(); ROLLBACK'));
      if (ok) signals.write = 'ok';
      else throw new Error('no answer');
    } catch {
      if (client !== undefined) {
        signals.connect = 'fail';
        await discard(client);
        client = undefined;
      }
    }
    const report = { observer, kind: 'apply', cluster, at: new Date().toISOString(), signals };
    if (!bus.nc.isClosed()) bus.nc.publish(`drover.health.${observer}`, JSON.stringify(report));
    await sleep(EVERY_MS, signal);
  }
  if (client !== undefined) await discard(client);
}

/** True when `work` succeeded in time. */
async function within(work: Promise<unknown>): Promise<boolean> {
  const late = new AbortController();
  const done = work.then(
    () => true,
    () => false,
  );
  const first = await Promise.race([done, sleep(TIMEOUT_MS, late.signal).then(() => false)]);
  late.abort();
  return first;
}
