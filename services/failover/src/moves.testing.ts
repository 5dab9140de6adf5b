/**
 * For tests of moves: each test has a tenant of its own, served by east and followed by west, and a stand-in for the pipeline between the two. Of
 * every test it is asked whether the tenant was ever open at both clusters (I4).
 */
import { beginFailover, beginSwitchover, type Placement } from '@drover/catalog';
import { deferred, type TenantId } from '@drover/core';
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import { healOn } from './heal.ts';
import { runPromotion } from './moves/promote.ts';
import { rejoinTenant } from './moves/rejoin.ts';
import { runSwitchover } from './moves/switchover.ts';
import { EAST, type Leader, makeWorld, type Name, WEST, type World } from './world.testing.ts';

/** Where a leader may end: behind these steps of its work. */
export const FAILPOINTS = {
  switchover: ['held', 'closing', 'closed', 'drained', 'opened'].map((name) => `switchover.${name}`),
  abort: ['aborting', 'reopened'].map((name) => `switchover.${name}`),
  promote: ['fenced', 'drained', 'opened'].map((name) => `promote.${name}`),
  rejoin: ['closed', 'tail', 'following'].map((name) => `rejoin.${name}`),
} as const;

/** To be called once in a file of tests. */
export function makeMoves(): Moves {
  const moves = new Moves();
  beforeAll(() => moves.open());
  afterAll(() => moves.world.close());
  beforeEach(() => moves.begin());
  afterEach(() => moves.end());
  return moves;
}

class Moves {
  world!: World;
  /** Of this test. */
  tenant!: TenantId;
  #replicating = new AbortController();
  #replication = Promise.resolve();
  #watch = new AbortController();
  #watching = Promise.resolve();
  #overlaps: string[] = [];

  async open(): Promise<void> {
    this.world = await makeWorld();
  }

  async begin(): Promise<void> {
    this.tenant = await this.world.tenant();
    this.replicate();
    this.#overlaps = [];
    this.#watch = new AbortController();
    this.#watching = this.#watchWriters(this.#watch.signal);
  }

  async end(): Promise<void> {
    this.#watch.abort();
    await Promise.all([this.stopReplicating(), this.#watching]);
    expect(this.#overlaps).toEqual([]);
  }

  replicate(): void {
    this.#replicating = new AbortController();
    this.#replication = this.world.replicate(this.#replicating.signal);
  }

  /** What the replica lacks now, it does not get. */
  async stopReplicating(): Promise<void> {
    this.#replicating.abort();
    await this.#replication;
  }

  ask(to = WEST, id: string = crypto.randomUUID()): Promise<Placement> {
    return this.change((p) => beginSwitchover(p, { id, to, reason: 'test' }));
  }

  askFailover(id: string = crypto.randomUUID()): Promise<Placement> {
    return this.change((p) => beginFailover(p, { id, to: WEST, reason: 'test' }));
  }

  /** The switch-over that was asked for. */
  async go(leader: Leader): Promise<void> {
    await runSwitchover(leader.context, await this.placement());
  }

  async promote(leader: Leader): Promise<void> {
    await runPromotion(leader.context, await this.placement(), { leaseMs: 300 });
  }

  async rejoin(leader: Leader) {
    return rejoinTenant(leader.context, await this.placement(), EAST);
  }

  placement(): Promise<Placement> {
    return this.world.placement(this.tenant);
  }

  change(fn: (placement: Placement) => Placement): Promise<Placement> {
    return this.world.catalog.changePlacement(this.tenant, fn);
  }

  row(name: Name): ReturnType<World['row']> {
    return this.world.row(name, this.tenant);
  }

  /** As the superuser of a cluster; `$1` is the tenant. */
  async sql(name: Name, text: string, ...params: unknown[]): Promise<void> {
    await this.world.root[name].query(text, [this.tenant, ...params]);
  }

  leader(...how: Parameters<World['leader']>): Leader {
    return this.world.leader(...how);
  }

  /** Lets a leader go until the failpoint, where it stays until released. */
  stoppedAt(failpoint: string, more: Parameters<World['leader']>[1] = {}) {
    const there = deferred<void>();
    const gate = deferred<void>();
    const leader = this.leader(async (name) => {
      if (name !== failpoint) return;
      there.resolve();
      await gate.promise;
    }, more);
    return { leader, there: there.promise, release: () => gate.resolve() };
  }

  /** Looks for what stale leaders closed: what the healing leader does every few seconds. */
  async heal(): Promise<void> {
    const { context } = this.leader();
    await healOn(context, EAST, this.world.database);
    await healOn(context, WEST, this.world.database);
  }

  async expectServedBy(name: Name, epoch: number): Promise<void> {
    const { world, tenant } = this;
    expect(await this.placement()).toMatchObject({ state: 'active', primary: name, epoch });
    expect(await world.writable(tenant)).toEqual([name]);
    expect(await world.row(name, tenant)).toMatchObject({ role: 'primary', open: true, epoch });
  }

  /** East is dead to everybody: the tenant is promoted at west. */
  async failOver(): Promise<void> {
    await this.sql('east', 'SELECT drover.close_tenant($1, 1)');
    await this.askFailover();
    await this.promote(this.leader());
  }

  /** While `work` runs, everything of east is confirmed as published. */
  async publishedUpTo(work: () => Promise<unknown>): Promise<void> {
    const stop = new AbortController();
    const confirm = async () => {
      while (!stop.signal.aborted) {
        await this.world.root.east.query(
          `SELECT pg_replication_slot_advance(slot_name, pg_current_wal_lsn()) FROM pg_replication_slots WHERE database = current_database()`,
        );
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    };
    const confirming = confirm();
    try {
      await work();
    } finally {
      stop.abort();
      await confirming;
    }
  }

  /** I4, as long as nobody is dead: open here, open there, still open here under the same epoch: two writers at the moment between. */
  async #watchWriters(signal: AbortSignal): Promise<void> {
    const { world, tenant } = this;
    while (!signal.aborted) {
      const before = await world.row('east', tenant);
      const other = await world.row('west', tenant);
      const after = await world.row('east', tenant);
      if (before?.open && other?.open && after?.open && before.epoch === after.epoch)
        this.#overlaps.push(`east ${before.epoch}, west ${other.epoch}`);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
}
