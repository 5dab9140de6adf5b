/**
 * What a tenant costs that is merely registered: the same load of a thousand tenants, once with nobody else, once with nine thousand more. Drover against Drover: `peer` is
 * the one with a thousand.
 */
import { mustBeEqual } from '../data/equality.ts';
import type { CatchUp } from '../data/measure.ts';
import { type BenchContext, type BenchResult, onAbort, oneRound } from '../data/run.ts';
import { CASE_SQL, createTable, loadProcedure, MARKER, TENANTS } from '../data/tables.ts';
import { startReplicationWorld } from '../data/world.ts';
import { summarize } from '../lib/report.ts';

const MANY = 10_000;
const PEER_NAME = `${TENANTS} tenants`;

export async function benchTenants(context: BenchContext): Promise<BenchResult> {
  const few = await roundsWith(TENANTS, context);
  const many = await roundsWith(MANY, context);
  const { rows, rounds } = context.options;
  const of = (metric: string, unit: string, value: (one: CatchUp) => number) =>
    summarize({
      case: `${MANY}_tenants`,
      metric,
      unit,
      peerName: PEER_NAME,
      drover: many.map(value),
      peer: few.map(value),
    });
  const cases = [
    of('rows_per_s', 'rows/s', (one) => rows / one.seconds),
    of('cpu_s_per_m_rows', 's', (one) => (one.cpuSeconds * 1e6) / rows),
    of('reader_memory', 'MB', (one) => one.memoryMb['cdc'] ?? 0),
    of('apply_memory', 'MB', (one) => one.memoryMb['apply'] ?? 0),
  ];
  return { cases, settings: { rows, rounds, load: 'ten rows a transaction, of 1,000 tenants' }, notes: [] };
}

async function roundsWith(tenants: number, context: BenchContext): Promise<CatchUp[]> {
  const { options, signal, say } = context;
  const it = CASE_SQL.find(({ name }) => name === 'ten');
  if (it === undefined) throw new Error('no case "ten"');
  const world = await startReplicationWorld({
    schema: `${MARKER}\n${createTable(it.name)}\n${loadProcedure(it)}`,
    tables: ['marker', it.name],
    profileTo: options.profileTo,
    tenants,
    say,
  });
  const stop = onAbort(signal, () => world.close());
  try {
    say(`${tenants.toLocaleString('en')} tenants`);
    const order = [world.drover];
    await oneRound(world, null, { round: -1, order, context });
    const found: CatchUp[] = [];
    for (let round = 0; round < options.rounds; round++) {
      const { drover } = await oneRound(world, it, { round, order, context });
      if (drover !== undefined) found.push(drover);
    }
    await mustBeEqual(world.source, [world.drover], [it.name]);
    return found;
  } finally {
    stop();
    await world.close();
  }
}
