/**
 * Questions to the other services, over the bus. Their answers are read field by field: a part of another version is reported
 * with what it says, and never breaks a call.
 */
import { type Bus, callPaged, callRpc } from '@drover/bus';
import type { ClusterId } from '@drover/core';

/** A service that does not answer for this long counts as gone. */
const PATIENCE_MS = 3000;

export interface FailoverState {
  readonly leader: string;
  readonly auto: boolean;
  readonly paused: boolean;
  readonly clusters: readonly Verdict[];
}

export interface Verdict {
  readonly cluster: string;
  readonly state: string;
  readonly score: number;
  readonly failing: readonly string[];
  readonly observers: readonly string[];
}

/** @throws DroverError `rpc.unavailable` when no controller leads */
export async function askFailover(bus: Bus): Promise<FailoverState> {
  const answer = table(await ask(bus, 'failover.status'));
  return {
    leader: text(answer['leader']),
    auto: answer['auto'] === true,
    paused: answer['paused'] === true,
    clusters: list(answer['clusters']).map((verdict) => ({
      cluster: text(verdict['cluster']),
      state: text(verdict['state']),
      score: count(verdict['score']),
      failing: texts(verdict['failing']),
      observers: texts(verdict['observers']),
    })),
  };
}

export interface TenantFeed {
  readonly tenant: string;
  readonly source: string;
  readonly feed: string;
  /** Null: not known. */
  readonly lagSeconds: number | null;
  readonly commitLsn: string;
  readonly reason: string;
}

/** `tenant` empty: all. @throws DroverError `rpc.unavailable`, and what the apply worker threw (`pg.unreachable`) */
export async function askLag(bus: Bus, cluster: ClusterId, tenant = ''): Promise<TenantFeed[]> {
  const method = `apply.${cluster}.lag`;
  return list(await callPaged(bus, method, { tenant }, { timeoutMs: PATIENCE_MS })).map((entry) => ({
    tenant: text(entry['tenant']),
    source: text(entry['source']),
    feed: text(entry['feed']),
    lagSeconds:
      typeof entry['lagSeconds'] === 'number' && Number.isFinite(entry['lagSeconds'])
        ? entry['lagSeconds']
        : null,
    commitLsn: text(entry['commitLsn']),
    reason: text(entry['reason']),
  }));
}

/** What one part says about itself in one line; `trouble` null: it works. */
export interface PartState {
  readonly trouble: string | null;
  readonly detail: string;
}

export async function askReader(bus: Bus, cluster: ClusterId): Promise<PartState> {
  const answer = table(await ask(bus, `cdc.${cluster}.status`));
  const databases = list(answer['databases']).map(
    (d) => `${text(d['database'])} ${text(d['state'])}, confirmed ${text(d['confirmedLsn']) || '-'}`,
  );
  const warnings = texts(answer['warnings']).map((warning) => `warning: ${warning}`);
  return {
    trouble: text(answer['trouble']) || null,
    detail: [databases.join('; ') || 'standing by', ...warnings].join('; '),
  };
}

export async function askApply(bus: Bus, cluster: ClusterId): Promise<PartState> {
  const answer = await callPaged(bus, `apply.${cluster}.status`, {}, { timeoutMs: PATIENCE_MS });
  const pipelines = list(answer);
  const broken = pipelines.find((pipeline) => text(pipeline['error']) !== '');
  const pending = pipelines.reduce((sum, pipeline) => sum + count(pipeline['pending']), 0);
  return {
    trouble:
      broken === undefined
        ? null
        : `from ${text(broken['source'])}, partition ${count(broken['partition'])}: ${text(broken['error'])}`,
    detail: `${pipelines.length} partitions, ${pending} messages waiting`,
  };
}

export async function askMigration(bus: Bus): Promise<PartState> {
  const answer = table(await ask(bus, 'migration.status'));
  return {
    trouble: answer['ok'] === false ? 'it says that it does not work' : null,
    detail: `${count(answer['copies'])} copies under way`,
  };
}

/** The apply worker looks at the tenant's row at once instead of within half a second. */
export async function nudgeApply(bus: Bus, cluster: ClusterId, tenant: string): Promise<void> {
  await callRpc(bus, `apply.${cluster}.nudge`, { tenant }, { timeoutMs: 500 }).catch(() => undefined);
}

export function ask(bus: Bus, method: string, request: unknown = {}): Promise<unknown> {
  return callRpc(bus, method, request, { timeoutMs: PATIENCE_MS });
}

export function table(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {};
}

export function list(value: unknown): Readonly<Record<string, unknown>>[] {
  return Array.isArray(value) ? value.map(table) : [];
}

export function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

export function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}

/** Whole and not negative, as the wire wants it. */
export function count(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? Math.max(0, Math.round(value)) : 0;
}
