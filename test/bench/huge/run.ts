/**
 * One transaction of a gigabyte on a source that is otherwise idle: how long after its commit all of it is visible at the replica, and how much memory whoever
 * carries it had at most. Once with the rows of one tenant, once with those of a thousand.
 */
import { mustBeEqual } from '../data/equality.ts';
import { peaksOf, untilMarked } from '../data/measure.ts';
import type { Peer } from '../data/peer.ts';
import { type BenchContext, type BenchResult, onAbort, PEER_NAME } from '../data/run.ts';
import { createTable, MARK, MARKER, rowOf, TENANTS } from '../data/tables.ts';
import { type ReplicationWorld, startReplicationWorld } from '../data/world.ts';
import { readerSections } from '../lib/args.ts';
import { summarize } from '../lib/report.ts';

/** Of rows as they stand in the WAL's transaction. */
const ROW_BYTES = 270;

const CASES = { one_tenant: '7', all_tenants: `g % ${TENANTS}` } as const;
type Name = keyof typeof CASES;

interface Carried {
  /** From the commit's return to all markers at the replica. */
  readonly seconds: number;
  /** Peak resident memory by process, MB. */
  readonly memoryMb: Readonly<Record<string, number>>;
}

export async function benchHuge(context: BenchContext): Promise<BenchResult> {
  const { options, signal, say } = context;
  const names = Object.keys(CASES) as Name[];
  const world = await startReplicationWorld({
    schema: [MARKER, ...names.map((name) => createTable(name))].join('\n'),
    tables: ['marker', ...names],
    profileTo: options.profileTo,
    sections: readerSections(options),
    say,
  });
  const stop = onAbort(signal, () => world.close());
  try {
    const cases: BenchResult['cases'][number][] = [];
    for (const name of names) {
      const found: Record<Peer['name'], Carried[]> = { drover: [], native: [] };
      for (let round = 0; round < options.rounds; round++) {
        for (const peer of round % 2 === 0 ? [world.drover, world.native] : [world.native, world.drover]) {
          const one = await carry(world, peer, name, context);
          found[peer.name].push(one);
          const memory = Object.entries(one.memoryMb).map(([part, mb]) => `${part} ${mb.toFixed(0)} MB`);
          say(
            `${name} ${round + 1}/${options.rounds} ${peer.name.padEnd(6)} visible ${one.seconds.toFixed(2)} s after the commit (${memory.join(', ')})`,
          );
        }
      }
      await settle(world, signal);
      await mustBeEqual(world.source, [world.drover, world.native], [name]);
      const of = (metric: string, unit: string, ours: readonly number[], theirs: readonly number[]) =>
        summarize({ case: name, metric, unit, peerName: PEER_NAME, drover: ours, peer: theirs });
      const memory = (peer: Peer['name'], part: string) =>
        found[peer].map(({ memoryMb }) => memoryMb[part] ?? 0);
      cases.push(
        of(
          'visible_after',
          's',
          found.drover.map(({ seconds }) => seconds),
          found.native.map(({ seconds }) => seconds),
        ),
        of('reader_memory', 'MB', memory('drover', 'cdc'), memory('native', 'walsender')),
        of('apply_memory', 'MB', memory('drover', 'apply'), memory('native', 'backends')),
      );
    }
    const notes = [
      "native's reader is its walsender, its apply the largest of its workers; both count shared memory they have touched",
    ];
    return { cases, settings: { megabytes: options.megabytes, rounds: options.rounds }, notes };
  } finally {
    stop();
    await world.close();
  }
}

async function carry(
  world: ReplicationWorld,
  peer: Peer,
  name: Name,
  { options, signal }: BenchContext,
): Promise<Carried> {
  const { source } = world;
  const mark = ++marks;
  await Promise.all([source, peer.replica].map((client) => client.query('CHECKPOINT')));
  await peer.start(signal);
  try {
    await source.query(MARK, [mark]); // what the other one's round has written is carried first
    await untilMarked(peer, mark, signal);
    const end = ++marks;
    const rows = Math.ceil((options.megabytes * 1e6) / ROW_BYTES);
    const from = end * rows;
    await source.query('BEGIN');
    await source.query(
      `INSERT INTO "${name}" SELECT ${rowOf('g', CASES[name])} FROM generate_series(${from}::bigint, ${from + rows - 1}::bigint) g`,
    );
    await source.query(MARK, [end]);
    await source.query('COMMIT');
    const committed = performance.now();
    let memoryMb: Record<string, number> = {};
    const look = async (): Promise<void> => {
      const now = peaksOf(await peer.processes()); // a worker may have ended, with its peak
      memoryMb = Object.fromEntries(
        Object.entries(now).map(([part, mb]) => [part, Math.max(mb, memoryMb[part] ?? 0)]),
      );
    };
    await look();
    await untilMarked(peer, end, signal, look);
    const seconds = (performance.now() - committed) / 1000;
    await look();
    return { seconds, memoryMb };
  } finally {
    await peer.stop();
  }
}

let marks = 0;

/** Both have everything. */
async function settle(world: ReplicationWorld, signal: AbortSignal): Promise<void> {
  await world.source.query(MARK, [++marks]);
  for (const peer of [world.drover, world.native]) {
    await peer.start(signal);
    await untilMarked(peer, marks, signal);
    await peer.stop();
  }
}
