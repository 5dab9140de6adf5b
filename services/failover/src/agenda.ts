/**
 * What the leader has to do now, and what it does not do and why. Pure: placements and verdicts in; out come tasks, each one tenant's next move,
 * the most urgent first, and refusals. Called again and again, so a lost task is found anew (I10).
 */
import type { Placement } from '@drover/catalog';
import type { ClusterId, TenantId } from '@drover/core';
import type { Verdict } from './health/judge.ts';

export type Task =
  | { readonly kind: 'switchover' | 'promote'; readonly placement: Placement }
  /** A planned move whose old primary has died meanwhile becomes a failover. */
  | { readonly kind: 'convert'; readonly placement: Placement }
  | {
      readonly kind: 'fail';
      readonly placement: Placement;
      /** Those that may take the tenant over, best first. */
      readonly candidates: readonly ClusterId[];
      readonly reason: string;
    }
  | { readonly kind: 'rejoin'; readonly placement: Placement; readonly cluster: ClusterId };

/** The primary is dead, and nothing is done about it. */
export interface Refusal {
  readonly tenant: TenantId;
  readonly cluster: ClusterId;
  /** Stays the same while the cause does. */
  readonly code: 'auto_off' | 'cooldown' | 'no_replica';
  readonly why: string;
}

export interface Agenda {
  readonly tasks: readonly Task[];
  readonly refused: readonly Refusal[];
}

export interface AgendaInput {
  readonly placements: Iterable<Placement>;
  readonly verdict: (cluster: ClusterId) => Verdict;
  /** Why there is no automatic failover now; undefined: there is. */
  readonly autoOff: string | undefined;
  /** Tenants being worked on already, or resting after a failure. */
  readonly busy: ReadonlySet<TenantId>;
  /** Unix ms; a tenant that was moved less than `cooldownMs` ago is not failed over again by itself (fault 40). */
  readonly now: number;
  readonly cooldownMs: number;
  /** Weight of a tier; the heavier ones are moved first. */
  readonly weight?: (tier: string) => number;
}

const URGENCY: Readonly<Record<Task['kind'], number>> = {
  convert: 0,
  promote: 0,
  fail: 0,
  switchover: 1,
  rejoin: 2,
};

export function agenda(input: AgendaInput): Agenda {
  const tasks: Task[] = [];
  const refused: Refusal[] = [];
  for (const placement of input.placements) {
    if (input.busy.has(placement.tenant)) continue;
    const next = placement.state === 'moving' ? ofMoving(placement, input) : ofActive(placement, input);
    if (next === undefined) continue;
    if ('why' in next) refused.push(next);
    else tasks.push(next);
  }
  const weight = ({ placement }: Task) => input.weight?.(placement.tier) ?? 1;
  tasks.sort((a, b) => URGENCY[a.kind] - URGENCY[b.kind] || weight(b) - weight(a));
  return { tasks, refused };
}

function ofMoving(placement: Placement, input: AgendaInput): Task | undefined {
  const move = placement.move;
  if (move === undefined) return undefined;
  if (move.kind === 'failover') return { kind: 'promote', placement };
  const dead = input.verdict(move.from).state === 'dead';
  if (dead && input.autoOff === undefined && move.step !== 'open') return { kind: 'convert', placement };
  return { kind: 'switchover', placement };
}

function ofActive(placement: Placement, input: AgendaInput): Task | Refusal | undefined {
  const verdict = input.verdict(placement.primary);
  if (verdict.state === 'dead') return ofDead(placement, verdict, input);
  for (const [cluster, replica] of Object.entries(placement.replicas)) {
    const id = cluster as ClusterId;
    if (replica.state === 'returning' && input.verdict(id).state === 'up' && verdict.state === 'up') {
      return { kind: 'rejoin', placement, cluster: id };
    }
  }
  return undefined;
}

function ofDead(placement: Placement, verdict: Verdict, input: AgendaInput): Task | Refusal {
  const { tenant, primary } = placement;
  const refuse = (code: Refusal['code'], why: string): Refusal => ({ tenant, cluster: primary, code, why });
  if (input.autoOff !== undefined) return refuse('auto_off', input.autoOff);
  const until = cooldownEnd(placement, input);
  if (until > input.now) {
    return refuse(
      'cooldown',
      `it was failed over a moment ago and stays until ${new Date(until).toISOString()}`,
    );
  }
  const candidates = bestReplicas(placement, input);
  if (candidates.length === 0) return refuse('no_replica', noReplica(placement, input));
  const reason = `${primary} is dead: ${verdict.failing.join(', ')} seen by ${verdict.observers.join(', ')}`;
  return { kind: 'fail', placement, candidates, reason };
}

/** Unix ms; 0: there is none. */
function cooldownEnd(placement: Placement, input: AgendaInput): number {
  const last = placement.lastMove;
  return last?.kind === 'failover' ? Date.parse(last.endedAt) + input.cooldownMs : 0;
}

/** Live replicas on clusters that are up, the healthiest first; names break ties, so every controller chooses alike. */
function bestReplicas(placement: Placement, input: AgendaInput): ClusterId[] {
  return Object.entries(placement.replicas)
    .filter(
      ([cluster, replica]) => replica.state === 'live' && input.verdict(cluster as ClusterId).state === 'up',
    )
    .map(([cluster]) => cluster as ClusterId)
    .sort((a, b) => input.verdict(b).score - input.verdict(a).score || a.localeCompare(b));
}

function noReplica(placement: Placement, input: AgendaInput): string {
  const all = Object.entries(placement.replicas).map(([cluster, replica]) =>
    replica.state === 'live'
      ? `${cluster} is ${input.verdict(cluster as ClusterId).state}`
      : `${cluster} is ${replica.state}`,
  );
  return all.length === 0 ? 'it has no replica' : `no replica can take it over: ${all.join(', ')}`;
}
