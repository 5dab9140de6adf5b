/**
 * The elected controller: looks at the agenda, works on many tenants at once, one task per tenant. All progress is in the
 * placements; when the lease is lost the signal aborts and another controller goes on from there.
 */
import { publishEvent } from '@drover/bus';
import type { Placement, PlacementView } from '@drover/catalog';
import { type ClusterId, describeError, isCancelled, sleep, type TenantId } from '@drover/core';
import { type Agenda, agenda, type Task } from './agenda.ts';
import { healClosed } from './heal.ts';
import type { ClusterHealth } from './health/judge.ts';
import { isConflict, type MoveContext } from './moves/move.ts';
import type { PromoteOptions } from './moves/promote.ts';
import { execute } from './tasks.ts';
import type { Told } from './told.ts';

export interface LeaderOptions extends PromoteOptions {
  readonly context: MoveContext;
  readonly view: PlacementView;
  readonly health: ClusterHealth;
  readonly told: Told;
  readonly clusters: readonly ClusterId[];
  readonly databases: (cluster: ClusterId) => readonly string[];
  /** Why there is no automatic failover now; undefined: there is. */
  readonly autoOff: () => string | undefined;
  readonly parallel: number;
  readonly cooldownMs: number;
  readonly weight: (tier: string) => number;
  readonly onMove: (kind: Task['kind'], outcome: 'done' | 'failed', seconds: number) => void;
}

const TICK_MS = 100;
/** After a failed task its tenant rests this long before it is tried again; it keeps no other from being worked on meanwhile. */
const REST_MS = 1000;
/** Somebody else was faster: the next look tells where the move stands. */
const CONFLICT_REST_MS = 200;
/** Share of `parallel` that rejoins may take, besides: they wait long, and nobody waits for them. */
const REJOIN_SHARE = 4;
/** What a lost term's tasks get to end. None of them can do harm later: each act names its epoch and its step (I4). */
const END_MS = 500;

/** Until the context's signal aborts. */
export async function lead(options: LeaderOptions): Promise<void> {
  await new Term(options).run();
}

class Term {
  readonly #options: LeaderOptions;
  readonly #running = new Map<TenantId, { task: Task; work: Promise<void> }>();
  readonly #restsUntil = new Map<TenantId, number>();

  constructor(options: LeaderOptions) {
    this.#options = options;
  }

  async run(): Promise<void> {
    const { context, clusters, databases, health } = this.#options;
    const { signal } = context;
    await this.#options.view.synced;
    const isUp = (cluster: ClusterId) => health.judge(cluster, performance.now()).state === 'up';
    const healing = healClosed({ context, clusters, databases, isUp });
    do this.#begin(this.#look());
    while (await sleep(TICK_MS, signal));
    const ended = Promise.all([healing, ...[...this.#running.values()].map(({ work }) => work)]);
    const enough = new AbortController();
    await Promise.race([ended, sleep(END_MS, enough.signal)]);
    enough.abort();
  }

  #look(): Agenda {
    const { view, health, autoOff, cooldownMs, weight, told } = this.#options;
    const now = performance.now();
    for (const [tenant, until] of this.#restsUntil) if (until <= now) this.#restsUntil.delete(tenant);
    const busy = new Set([...this.#running.keys(), ...this.#restsUntil.keys()]);
    const found = agenda({
      placements: view.all(),
      verdict: (cluster) => health.judge(cluster, now),
      autoOff: autoOff(),
      busy,
      now: Date.now(),
      cooldownMs,
      weight,
    });
    for (const { tenant, cluster, code, why } of found.refused) {
      told.tell({ tenant, kind: 'refused', code, why: `${cluster} is dead: ${why}` });
    }
    const failing = found.tasks.filter((t) => t.kind === 'fail').map((t) => t.placement.tenant);
    told.keepRefused(new Set([...busy, ...failing, ...found.refused.map((r) => r.tenant)]));
    return found;
  }

  #begin({ tasks }: Agenda): void {
    const { parallel } = this.#options;
    const rejoinsMax = Math.max(1, Math.floor(parallel / REJOIN_SHARE));
    let rejoins = [...this.#running.values()].filter(({ task }) => task.kind === 'rejoin').length;
    let moves = this.#running.size - rejoins;
    for (const task of tasks) {
      const rejoin = task.kind === 'rejoin';
      if (rejoin ? rejoins >= rejoinsMax : moves >= parallel) continue;
      if (rejoin) rejoins++;
      else moves++;
      const { tenant } = task.placement;
      const work = this.#perform(task).finally(() => this.#running.delete(tenant));
      this.#running.set(tenant, { task, work });
    }
  }

  /** Never rejects. */
  async #perform(task: Task): Promise<void> {
    const { context, told, onMove } = this.#options;
    const { tenant } = task.placement;
    const started = performance.now();
    try {
      const result = await execute(this.#options, task);
      if (result.kind === 'refused') {
        this.#rest(tenant, REST_MS);
        told.tell({ tenant, kind: 'refused', code: result.code, why: result.why });
        return;
      }
      told.over(tenant);
      onMove(task.kind, 'done', (performance.now() - started) / 1000);
      // The view may be a little behind what was done: without a pause the same task would be begun again.
      this.#rest(tenant, TICK_MS);
      if (result.kind === 'moved') tellEnd(context, result.placement);
    } catch (error) {
      if (isCancelled(error) || context.signal.aborted) return;
      if (isConflict(error)) {
        context.log.debug('a step was done elsewhere', {
          tenant,
          task: task.kind,
          error: describeError(error),
        });
        this.#rest(tenant, CONFLICT_REST_MS);
        return;
      }
      onMove(task.kind, 'failed', (performance.now() - started) / 1000);
      told.tell({ tenant, kind: 'stuck', code: task.kind, why: describeError(error) });
      this.#rest(tenant, REST_MS);
    }
  }

  #rest(tenant: TenantId, ms: number): void {
    this.#restsUntil.set(tenant, performance.now() + ms);
  }
}

function tellEnd(context: MoveContext, placement: Placement): void {
  const { tenant, epoch, lastMove } = placement;
  if (lastMove === undefined || placement.move !== undefined) return;
  context.log.info('move ended', { tenant, ...lastMove });
  publishEvent(context.bus, 'failover.moved', { tenant, epoch, ...lastMove });
}
