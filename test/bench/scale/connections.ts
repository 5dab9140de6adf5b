/**
 * How Drover's rate grows with the connections it writes over: one for each partition of the stream. Beside it native logical replication, which has one apply process
 * whatever there is to do.
 */
import { mustBeEqual } from '../data/equality.ts';
import type { CatchUp } from '../data/measure.ts';
import { type BenchContext, type BenchResult, onAbort, oneRound, PEER_NAME } from '../data/run.ts';
import { CASE_SQL, createTable, loadProcedure, MARKER } from '../data/tables.ts';
import { startReplicationWorld } from '../data/world.ts';
import { summarize } from '../lib/report.ts';

const PARTITIONS = [1, 2, 4, 8] as const;

export async function benchConnections(context: BenchContext): Promise<BenchResult> {
  const { options } = context;
  const cases: BenchResult['cases'][number][] = [];
  for (const partitions of PARTITIONS) {
    const { drover, native } = await withPartitions(partitions, context);
    const of = (metric: string, unit: string, value: (one: CatchUp) => number) =>
      summarize({
        case: `${partitions}_connections`,
        metric,
        unit,
        peerName: PEER_NAME,
        drover: drover.map(value),
        peer: native.map(value),
      });
    cases.push(
      of('rows_per_s', 'rows/s', (one) => options.rows / one.seconds),
      of('cpu_s_per_m_rows', 's', (one) => (one.cpuSeconds * 1e6) / options.rows),
    );
  }
  const notes = ['the sum of CPU decides where there are fewer free cores than connections'];
  return {
    cases,
    settings: { rows: options.rows, rounds: options.rounds, load: 'ten rows a transaction' },
    notes,
  };
}

async function withPartitions(
  partitions: number,
  context: BenchContext,
): Promise<{ drover: CatchUp[]; native: CatchUp[] }> {
  const { options, signal, say } = context;
  const it = CASE_SQL.find(({ name }) => name === 'ten');
  if (it === undefined) throw new Error('no case "ten"');
  const world = await startReplicationWorld({
    schema: `${MARKER}\n${createTable(it.name)}\n${loadProcedure(it)}`,
    tables: ['marker', it.name],
    profileTo: options.profileTo,
    sections: { nats: { partitions, max_bytes: '1GiB' } },
    say,
  });
  const stop = onAbort(signal, () => world.close());
  try {
    say(`${partitions} connections`);
    const { drover, native } = world;
    await oneRound(world, null, { round: -1, order: [drover, native], context });
    const found: { drover: CatchUp[]; native: CatchUp[] } = { drover: [], native: [] };
    for (let round = 0; round < options.rounds; round++) {
      const order = round % 2 === 0 ? [drover, native] : [native, drover];
      const both = await oneRound(world, it, { round, order, context });
      if (both.drover !== undefined) found.drover.push(both.drover);
      if (both.native !== undefined) found.native.push(both.native);
    }
    await mustBeEqual(world.source, [drover, native], [it.name]);
    return found;
  } finally {
    stop();
    await world.close();
  }
}
