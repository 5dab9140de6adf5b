/** A small model of clusters that fail and return, tenants, and a controller that follows its agenda: what may never be decided. */
import {
  abortMove,
  advanceMove,
  beginAbort,
  beginFailover,
  beginSwitchover,
  convertToFailover,
  finishMove,
  type Placement,
} from '@drover/catalog';
import { type ClusterId, clusterId, epoch, tenantId } from '@drover/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { agenda, type Task } from './agenda.ts';
import { ClusterHealth } from './health/judge.ts';

const CLUSTERS = ['east', 'west', 'north'].map(clusterId);
const KINDS = ['proxy', 'apply', 'failover'];
const policy = { minSignals: 3, minObservers: 2, graceMs: 3000, staleMs: 3000 };
const COOLDOWN_MS = 20_000;
const TICK_MS = 500;

type Event =
  | { readonly kind: 'cut'; readonly cluster: number; readonly observers: number }
  | { readonly kind: 'heal'; readonly cluster: number }
  | { readonly kind: 'pause'; readonly on: boolean }
  | { readonly kind: 'ask'; readonly tenant: number; readonly to: number }
  | { readonly kind: 'wait'; readonly ticks: number }
  | { readonly kind: 'stall'; readonly on: boolean };

const cluster = fc.nat({ max: CLUSTERS.length - 1 });
const event: fc.Arbitrary<Event> = fc.oneof(
  fc.record({ kind: fc.constant('cut' as const), cluster, observers: fc.integer({ min: 1, max: 7 }) }),
  fc.record({ kind: fc.constant('heal' as const), cluster }),
  fc.record({ kind: fc.constant('pause' as const), on: fc.boolean() }),
  fc.record({ kind: fc.constant('ask' as const), tenant: fc.nat({ max: 2 }), to: cluster }),
  fc.record({ kind: fc.constant('wait' as const), ticks: fc.integer({ min: 1, max: 12 }) }),
  fc.record({ kind: fc.constant('stall' as const), on: fc.boolean() }),
);

class Model {
  now = Date.parse('2026-01-01T00:00:00Z');
  paused = false;
  /** Drains do not end. */
  stalled = false;
  readonly health = new ClusterHealth(policy);
  /** Which observers (bits) cannot work on the cluster, and since when without a break. */
  readonly cut = new Map<ClusterId, { observers: number; since: number }>();
  readonly placements: Placement[] = [0, 1, 2].map((i) => ({
    tenant: tenantId(`t${i}`),
    epoch: epoch(1),
    epochSeq: 0,
    primary: CLUSTERS[i]!,
    database: 'app',
    tier: 'standard',
    replicas: Object.fromEntries(
      CLUSTERS.filter((_, c) => c !== i).map((c) => [c, { state: 'live', since: '' }]),
    ),
    state: 'active',
    updatedAt: '',
  }));

  tick(): readonly Task[] {
    this.now += TICK_MS;
    for (const c of CLUSTERS) {
      for (const [bit, kind] of KINDS.entries()) {
        const bad = ((this.cut.get(c)?.observers ?? 0) & (1 << bit)) !== 0;
        const state = bad ? 'fail' : 'ok';
        this.health.observe(
          { observer: `${kind}-1`, kind, cluster: c, signals: { connect: state, query: state } },
          this.now,
        );
      }
    }
    return agenda({
      placements: this.placements,
      verdict: (c) => this.health.judge(c, this.now),
      autoOff: this.paused ? 'paused' : undefined,
      busy: new Set(),
      now: this.now,
      cooldownMs: COOLDOWN_MS,
    }).tasks;
  }

  replace(before: Placement, after: Placement): void {
    this.placements[this.placements.findIndex((p) => p.tenant === before.tenant)] = after;
  }

  /** One step of the task, as the moves do it. */
  work(task: Task): void {
    const p = task.placement;
    const at = new Date(this.now);
    const step = p.move?.step;
    const up = (c: ClusterId) => this.cut.get(c) === undefined;
    if (task.kind === 'fail')
      this.replace(
        p,
        beginFailover(p, { id: `f${this.now}`, to: task.candidates[0]!, reason: task.reason, now: at }),
      );
    else if (task.kind === 'convert') this.replace(p, convertToFailover(p, 'died', at));
    else if (task.kind === 'rejoin')
      this.replace(p, { ...p, replicas: { ...p.replicas, [task.cluster]: { state: 'live', since: '' } } });
    else if (step === 'open') {
      if (up(p.move!.to))
        this.replace(
          p,
          finishMove(p, { holdMs: 1, now: at, returning: p.move!.kind === 'failover' ? [p.move!.from] : [] }),
        );
    } else if (step === 'abort') {
      if (up(p.move!.from)) this.replace(p, abortMove(p, at));
    } else if (task.kind === 'switchover' && (!up(p.move!.from) || !up(p.move!.to) || this.stalled))
      this.replace(p, beginAbort(p, 'did not end', at));
    else if (!this.stalled && up(p.move!.to)) {
      const order =
        p.move!.kind === 'switchover' ? ['hold', 'close', 'drain', 'open'] : ['fence', 'drain', 'open'];
      const next = order[order.indexOf(step!) + 1] as 'open';
      this.replace(p, advanceMove(p, next, { barrierLsn: '0/1', openSeq: 1 }, at));
    }
  }
}

function check(model: Model, task: Task): void {
  const { placement } = task;
  const deadFor = (c: ClusterId) => {
    const cut = model.cut.get(c);
    return cut?.observers === 7 ? model.now - cut.since : 0;
  };
  if (task.kind === 'fail') {
    expect(model.paused).toBe(false);
    expect(deadFor(placement.primary)).toBeGreaterThanOrEqual(policy.graceMs);
    for (const to of task.candidates) {
      expect(to).not.toBe(placement.primary);
      expect(placement.replicas[to]?.state).toBe('live');
      expect(model.cut.get(to)).toBeUndefined();
    }
    const last = placement.lastMove;
    if (last?.kind === 'failover')
      expect(model.now - Date.parse(last.endedAt)).toBeGreaterThanOrEqual(COOLDOWN_MS);
  }
  if (task.kind === 'convert') {
    expect(model.paused).toBe(false);
    expect(placement.move?.step).not.toBe('open');
    expect(deadFor(placement.move!.from)).toBeGreaterThanOrEqual(policy.graceMs);
  }
  if (task.kind === 'rejoin') {
    expect(model.cut.get(task.cluster)).toBeUndefined();
    expect(model.cut.get(placement.primary)).toBeUndefined();
    expect(task.cluster).not.toBe(placement.primary);
  }
}

describe('the decisions of the controller', () => {
  it('promote only from the dead, to the living, unless paused or cooling down; and all comes to rest', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), (events) => {
        const model = new Model();
        const turn = () => {
          const epochs = model.placements.map((p) => p.epoch);
          for (const task of model.tick()) {
            check(model, task);
            model.work(task);
          }
          for (const [i, p] of model.placements.entries()) {
            expect(p.epoch).toBeGreaterThanOrEqual(epochs[i]!);
            expect(p.replicas[p.primary]).toBeUndefined();
          }
        };
        for (const e of events) {
          if (e.kind === 'cut') {
            const c = CLUSTERS[e.cluster]!;
            const before = model.cut.get(c);
            const same = before?.observers === e.observers;
            model.cut.set(c, { observers: e.observers, since: same ? before.since : model.now + TICK_MS });
          } else if (e.kind === 'heal') model.cut.delete(CLUSTERS[e.cluster]!);
          else if (e.kind === 'pause') model.paused = e.on;
          else if (e.kind === 'stall') model.stalled = e.on;
          else if (e.kind === 'wait') for (let i = 0; i < e.ticks; i++) turn();
          else {
            const p = model.placements[e.tenant]!;
            const to = CLUSTERS[e.to]!;
            if (p.state === 'active' && p.replicas[to]?.state === 'live')
              model.replace(p, beginSwitchover(p, { id: `s${model.now}`, to, reason: 'asked' }));
          }
          turn();
        }
        // Once nothing is wrong any more, every tenant is served, with all its replicas (liveness).
        model.cut.clear();
        model.stalled = false;
        for (let i = 0; i < 20; i++) turn();
        for (const p of model.placements) {
          expect(p.state).toBe('active');
          expect(Object.values(p.replicas).map((r) => r.state)).toEqual(['live', 'live']);
        }
      }),
      { numRuns: 300 },
    );
  });
});
