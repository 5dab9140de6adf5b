/**
 * What one tenant does to the lag of the others: their commit-to-visible latency while all write alike, while one of them writes ten times as
 * much, and while it commits one large transaction. Drover and PostgreSQL's own logical replication in turns, which share the two
 * causes that no replication can take away: the WAL is one sequence, and the machine has so many cores.
 */
import { sleep } from '@drover/core';
import type pg from 'pg';
import { mustBeEqual } from '../data/equality.ts';
import { untilMarked } from '../data/measure.ts';
import type { Peer } from '../data/peer.ts';
import { type BenchContext, type BenchResult, onAbort, PEER_NAME } from '../data/run.ts';
import { MARK, MARKER } from '../data/tables.ts';
import { type ReplicationWorld, startReplicationWorld } from '../data/world.ts';
import { type Probe, probe } from '../latency/probe.ts';
import { LIVE_SCHEMA, LIVE_TABLES, REPLICA_SCHEMA } from '../latency/tables.ts';
import { readerSections } from '../lib/args.ts';
import { type BenchCase, summarize } from '../lib/report.ts';
import { percentile } from '../lib/stats.ts';
import {
  BUSY,
  BUSY_TIMES,
  FLOOD,
  isLarge,
  largeTransaction,
  NEIGHBOUR,
  type Phase,
  prepareUnseen,
  RATE_EACH,
  runLoad,
  TENANT_COUNT,
} from './load.ts';

/** Each behind what it is held against, so that what changes with time changes in both. */
const PHASES = [
  ...['alone', 'busy', 'unseen-flood', 'flood'],
  ...['alone', 'unseen-long', 'long', 'unseen-big', 'big'],
] as readonly Phase[];
/** The transaction of `long` has so much less than that of `big`. */
const LONG_SHARE = 0.4;
/** Of the load, before probes count. */
const WARM_UP_S = 3;
const LARGE_PATIENCE_S = 900;

interface Replica {
  readonly peer: Peer;
  readonly listener: pg.Client;
}

/** Latencies of the others, of one peer and round. */
type Found = Record<Phase, Probe[]>;

export async function benchFairness(context: BenchContext): Promise<BenchResult> {
  const { options, signal, say } = context;
  const world = await startReplicationWorld({
    schema: `${MARKER}\n${LIVE_SCHEMA}\n${FLOOD}`,
    replicaSchema: REPLICA_SCHEMA,
    tables: ['marker', ...LIVE_TABLES],
    profileTo: options.profileTo,
    sections: readerSections(options),
    say,
  });
  const stop = onAbort(signal, () => world.close());
  try {
    await prepareUnseen(world);
    const replicas: Replica[] = [
      { peer: world.drover, listener: await world.connect('west') },
      { peer: world.native, listener: await world.connect('north') },
    ];
    const rounds: Record<Peer['name'], Found[]> = { drover: [], native: [] };
    for (let round = 0; round < options.rounds; round++) {
      for (const replica of round % 2 === 0 ? replicas : replicas.toReversed())
        rounds[replica.peer.name].push(await oneRound(world, replica, round, context));
    }
    for (const { peer } of replicas) await caughtUp(world, peer, signal, true);
    await mustBeEqual(world.source, [world.drover, world.native], LIVE_TABLES);
    const { seconds, rows } = options;
    return {
      cases: casesOf(rounds),
      settings: {
        ...{ seconds, rounds: options.rounds, bigRows: rows, tenants: TENANT_COUNT },
        ...{ transactionsPerSecondEach: RATE_EACH, busyTimes: BUSY_TIMES },
      },
      notes: [
        `latencies are those of the ${TENANT_COUNT - 1} others; \`neighbour\` shares the partition. others_p99 is best at 1: \`busy\` beside \`alone\`, the others beside the same work in a database that nobody replicates`,
      ],
    };
  } finally {
    stop();
    await world.close();
  }
}

function casesOf(rounds: Record<Peer['name'], Found[]>): BenchCase[] {
  const of = (name: string, metric: string, unit: string, value: (found: Found) => number): BenchCase =>
    summarize({
      ...{ case: name, metric, unit, peerName: PEER_NAME },
      ...{ drover: rounds.drover.map(value), peer: rounds.native.map(value) },
    });
  const p = (percent: number, phase: Phase, of?: number) => (found: Found) => at(found[phase], percent, of);
  const cases: BenchCase[] = [];
  for (const phase of new Set(PHASES)) {
    cases.push(of(phase, 'latency_p50', 'ms', p(50, phase)), of(phase, 'latency_p99', 'ms', p(99, phase)));
    const base = BASE[phase];
    if (base === undefined) continue;
    const times = (of?: number) => (found: Found) => p(99, phase, of)(found) / p(99, base, of)(found);
    cases.push(of(phase, 'others_p99', `times ${base}`, times()));
    cases.push(of(phase, 'neighbour_p99', `times ${base}`, times(NEIGHBOUR)));
  }
  return cases;
}

/** What a phase is held against. */
const BASE: Partial<Record<Phase, Phase>> = {
  busy: 'alone',
  flood: 'unseen-flood',
  long: 'unseen-long',
  big: 'unseen-big',
};

function at(probes: readonly Probe[], percent: number, tenant?: number): number {
  const of = tenant === undefined ? probes : probes.filter((one) => one.tenant === tenant);
  return percentile(
    of.map(({ ms }) => ms),
    percent,
  );
}

async function oneRound(
  world: ReplicationWorld,
  { peer, listener }: Replica,
  round: number,
  { options, signal, say }: BenchContext,
): Promise<Found> {
  const found = Object.fromEntries(PHASES.map((phase) => [phase, [] as Probe[]])) as Found;
  await peer.start(signal);
  try {
    await caughtUp(world, peer, signal); // what was written while the other one worked
    for (const phase of PHASES) {
      const more = await onePhase(world, { peer, listener }, phase, { options, signal, say });
      found[phase].push(...more);
      const [p50, p99, worst] = [50, 99, 100].map((percent) => at(more, percent).toFixed(1));
      const near = at(more, 99, NEIGHBOUR).toFixed(1);
      say(
        `${round + 1}/${options.rounds} ${peer.name.padEnd(6)} ${phase.padEnd(11)} p50 ${p50} ms, p99 ${p99} ms (neighbour ${near} ms), at most ${worst} ms`,
      );
    }
  } finally {
    await peer.stop();
  }
  return found;
}

async function onePhase(
  world: ReplicationWorld,
  { peer, listener }: Replica,
  phase: Phase,
  { options, signal, say }: BenchContext,
): Promise<Probe[]> {
  const { seconds, rows } = options;
  const ended = new AbortController();
  // The large transaction takes as long as it takes: until the replica has it, the others are looked at.
  const lasts = isLarge(phase) ? LARGE_PATIENCE_S : WARM_UP_S + seconds;
  const load = runLoad(world, phase, lasts, AbortSignal.any([signal, ended.signal]));
  load.catch(() => undefined); // awaited below
  try {
    if (!(await sleep(WARM_UP_S * 1000, signal))) throw signal.reason;
    let arrived = !isLarge(phase);
    const large = arrived ? Promise.resolve() : carried(world, peer, phase, { rows, signal, say });
    large.then(
      () => (arrived = true),
      () => (arrived = true),
    );
    const probes = await probe({
      source: world.source,
      replica: listener,
      tenantOf: (id) => (BUSY + 1 + (id % (TENANT_COUNT - 1))) % TENANT_COUNT,
      enough: (since) => arrived && since >= seconds - 0.5,
      signal,
    });
    await large;
    if (!isLarge(phase)) await load;
    if (phase === 'flood') await drained(world, peer, signal, say);
    return probes;
  } finally {
    ended.abort(new Error('enough'));
    await load.catch(() => undefined);
  }
}

/** Writes the large transaction and waits until the replica shows it. */
async function carried(
  world: ReplicationWorld,
  peer: Peer,
  phase: Phase,
  { rows, signal, say }: { rows: number; signal: AbortSignal; say: (line: string) => void },
): Promise<void> {
  const count = phase.endsWith('long') ? rows * LONG_SHARE : rows;
  const took = await largeTransaction(world, phase, count);
  const committedAt = performance.now();
  await caughtUp(world, peer, signal);
  const after = (performance.now() - committedAt) / 1000;
  say(
    `       ${peer.name.padEnd(6)} ${count} rows in ${took.toFixed(1)} s, there ${after.toFixed(1)} s later`,
  );
}

async function drained(
  world: ReplicationWorld,
  peer: Peer,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<void> {
  const from = performance.now();
  await caughtUp(world, peer, signal);
  say(
    `       ${peer.name.padEnd(6)} had everything ${((performance.now() - from) / 1000).toFixed(1)} s later`,
  );
}

let marks = 0;

async function caughtUp(
  world: ReplicationWorld,
  peer: Peer,
  signal: AbortSignal,
  start = false,
): Promise<void> {
  if (start) await peer.start(signal);
  const client = await world.connect('east');
  await client.query(MARK, [++marks]);
  await untilMarked(peer, marks, signal);
  await client.end();
  if (start) await peer.stop();
}
