/**
 * What the leader has to do now. Pure: placements and verdicts in, a list of tasks out; each task is one tenant's next move. Called again
 * and again, so a lost task is found anew (I10).
 */
import type { Placement } from '@drover/catalog';
import type { ClusterId, TenantId } from '@drover/core';
import type { Verdict } from './health/judge.ts';

export type Task =
  | { readonly kind: 'switchover' | 'promote'; readonly placement: Placement }
  /** A planned move whose old primary has died meanwhile becomes a failover. */
  | { readonly kind: 'convert'; readonly placement: Placement }
  | { readonly kind: 'fail'; readonly placement: Placement; readonly to: ClusterId; readonly reason: string }
  | { readonly kind: 'rejoin'; readonly placement: Placement; readonly cluster: ClusterId };

export interface AgendaInput {
  readonly placements: Iterable<Placement>;
  readonly verdict: (cluster: ClusterId) => Verdict;
  /** Automatic failover is on and not paused. */
  readonly auto: boolean;
  /** Tenants being worked on already. */
  readonly busy: ReadonlySet<TenantId>;
  /** Unix ms; a tenant that was moved less than `cooldownMs` ago is not failed over again by itself (fault 40). */
  readonly now: number;
  readonly cooldownMs: number;
}

export function agenda(input: AgendaInput): Task[] {
  const tasks: Task[] = [];
  for (const placement of input.placements) {
    if (input.busy.has(placement.tenant)) continue;
    const task = placement.state === 'moving' ? ofMoving(placement, input) : ofActive(placement, input);
    if (task !== undefined) tasks.push(task);
  }
  return tasks;
}

function ofMoving(placement: Placement, input: AgendaInput): Task | undefined {
  const move = placement.move;
  if (move === undefined) return undefined;
  if (move.kind === 'failover') return { kind: 'promote', placement };
  const dead = input.verdict(move.from).state === 'dead';
  if (dead && input.auto && move.step !== 'open') return { kind: 'convert', placement };
  return { kind: 'switchover', placement };
}

function ofActive(placement: Placement, input: AgendaInput): Task | undefined {
  const verdict = input.verdict(placement.primary);
  if (verdict.state === 'dead') {
    if (!input.auto || inCooldown(placement, input)) return undefined;
    const to = bestReplica(placement, input);
    if (to === undefined) return undefined;
    const reason = `${placement.primary} is dead: ${verdict.failing.join(', ')} seen by ${verdict.observers.join(', ')}`;
    return { kind: 'fail', placement, to, reason };
  }
  for (const [cluster, replica] of Object.entries(placement.replicas)) {
    const id = cluster as ClusterId;
    if (replica.state === 'returning' && input.verdict(id).state === 'up' && verdict.state === 'up') {
      return { kind: 'rejoin', placement, cluster: id };
    }
  }
  return undefined;
}

function inCooldown(placement: Placement, input: AgendaInput): boolean {
  const last = placement.lastMove;
  return last?.kind === 'failover' && input.now - Date.parse(last.endedAt) < input.cooldownMs;
}

/** The live replica on the healthiest cluster; names break ties, so every controller chooses alike. */
function bestReplica(placement: Placement, input: AgendaInput): ClusterId | undefined {
  return Object.entries(placement.replicas)
    .filter(
      ([cluster, replica]) => replica.state === 'live' && input.verdict(cluster as ClusterId).state === 'up',
    )
    .map(([cluster]) => cluster as ClusterId)
    .sort((a, b) => input.verdict(b).score - input.verdict(a).score || a.localeCompare(b))[0];
}
