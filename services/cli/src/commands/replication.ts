/** `drover status`, `lag`, `verify`. */
import type { Config } from '@drover/config';
import { DroverError, isCancelled } from '@drover/core';
import {
  clusterState,
  feed,
  MigrationService,
  ReplicationService,
  type Verification,
  type WatchLagResponse,
} from '@drover/rpc';
import { type Output, table } from '../output/terminal.ts';
import { allTenants, withClient } from './client.ts';
import { untilSignal } from './run.ts';

const DEADLINE_MS = 15_000;

export function status(config: Config, out: Output): Promise<boolean> {
  return withClient(config, ReplicationService, async (client) => {
    const s = await client.getStatus({}, { deadlineMs: DEADLINE_MS });
    const clusters = s.clusters.map((c) => ({
      cluster: c.verdict?.cluster ?? '',
      state: clusterState.toWord(c.verdict?.state ?? 0) ?? 'unknown',
      score: c.verdict?.score ?? 0,
      primaries: c.primaries,
      replicas: c.replicas,
      parked: c.parked,
      failing: c.verdict?.failing ?? [],
    }));
    const ok = s.components.every((c) => c.ok) && clusters.every((c) => c.state === 'up' && c.parked === 0);
    out.result(
      {
        ok,
        clusters,
        components: s.components.map(({ name, ok: up, detail }) => ({ name, ok: up, detail })),
        tenants: s.tenants,
        moving: s.moving,
      },
      () =>
        [
          table(
            ['cluster', 'state', 'score', 'primaries', 'replicas', 'parked', 'failing'],
            clusters.map((c) => [
              c.cluster,
              c.state,
              c.score,
              c.primaries,
              c.replicas,
              c.parked,
              c.failing.join(' '),
            ]),
          ),
          '',
          table(
            ['service', 'state'],
            s.components.map((c) => [c.name, c.ok ? 'ok' : c.detail]),
          ),
          '',
          `${s.tenants} tenants, ${s.moving} being moved`,
        ].join('\n'),
    );
    return ok;
  });
}

/** Once, or every second until interrupted. */
export function lag(
  config: Config,
  args: { tenant: string | undefined; watch: boolean },
  out: Output,
): Promise<void> {
  return withClient(config, ReplicationService, async (client) => {
    const options = args.watch ? { signal: untilSignal() } : { deadlineMs: DEADLINE_MS };
    try {
      for await (const moment of moments(client.watchLag({ tenant: args.tenant ?? '' }, options))) {
        if (args.tenant !== undefined && moment.lags.length === 0 && moment.unreachable.length === 0) {
          throw new DroverError('tenant.unknown', `no replica of ${args.tenant} is known`, {
            hint: '`drover tenant list` shows the known tenants',
          });
        }
        if (args.watch && !out.json && process.stdout.isTTY) process.stdout.write('\x1b[2J\x1b[H');
        printLag(moment, out);
        if (!args.watch) return;
      }
    } catch (error) {
      if (!isCancelled(error)) throw error;
    }
  });
}

type Moment = Pick<WatchLagResponse, 'lags' | 'unreachable'>;

/** Of many tenants one moment takes several messages. */
async function* moments(answers: AsyncIterable<WatchLagResponse>): AsyncGenerator<Moment, void, undefined> {
  let lags: WatchLagResponse['lags'] = [];
  for await (const { lags: some, unreachable, more } of answers) {
    lags.push(...some);
    if (more) continue;
    yield { lags, unreachable };
    lags = [];
  }
}

function printLag(answer: Moment, out: Output): void {
  const lags = answer.lags.map((l) => ({
    tenant: l.tenant,
    source: l.source,
    target: l.target,
    feed: feed.toWord(l.feed) ?? 'unknown',
    lagSeconds: l.lagSeconds ?? null,
    commitLsn: l.commitLsn,
    reason: l.reason,
  }));
  out.result({ at: new Date().toISOString(), lags, unreachable: answer.unreachable }, () =>
    [
      table(
        ['tenant', 'from', 'to', 'feed', 'lag s', 'applied up to', ''],
        lags.map((l) => [
          l.tenant,
          l.source,
          l.target,
          l.feed,
          l.lagSeconds === null ? '-' : l.lagSeconds.toFixed(2),
          l.commitLsn,
          l.reason,
        ]),
      ),
      ...answer.unreachable.map((c) => `apply on ${c} does not answer`),
    ].join('\n'),
  );
}

/** False when a replica differs. */
export async function verify(
  config: Config,
  args: { tenant: string | undefined; all: boolean },
  out: Output,
): Promise<boolean> {
  if ((args.tenant === undefined) === !args.all) {
    throw new DroverError('rpc.invalid', 'name a tenant, or --all', { hint: 'drover verify acme' });
  }
  const names = args.all
    ? (await withClient(config, MigrationService, allTenants))
        .filter((t) => t.replicas.length > 0)
        .map((t) => t.tenant)
    : [args.tenant ?? ''];
  let different = 0;
  await withClient(config, ReplicationService, async (client) => {
    for (const tenant of names) {
      let result: Verification | undefined;
      for await (const { event } of client.verifyTenant({ tenant })) {
        if (event.case === 'progress' && !args.all) out.line(`  ${event.value}`);
        if (event.case === 'result') result = event.value;
      }
      if (result === undefined) throw new DroverError('verify.failed', `${tenant}: no result`);
      if (!result.equal) different++;
      printVerification(tenant, result, out);
    }
  });
  out.result({ event: 'summary', tenants: names.length, different }, () =>
    different === 0 ? `${names.length} tenants equal` : `${different} of ${names.length} tenants differ`,
  );
  return different === 0;
}

function printVerification(tenant: string, result: Verification, out: Output): void {
  const tables = result.tables.map((t) => ({
    table: t.table,
    target: t.target,
    rows: Number(t.rows),
    equal: t.equal,
    differingKeys: t.differingKeys,
  }));
  out.result({ tenant, equal: result.equal, tables }, () => {
    const rows = tables.reduce((sum, t) => sum + t.rows, 0);
    const lines = [
      `${result.equal ? '✓' : '✗'} ${tenant}: ${rows} rows in ${tables.length} tables ${result.equal ? 'equal' : 'differ'}`,
    ];
    for (const t of tables.filter((x) => !x.equal)) {
      lines.push(
        `    ${t.table} on ${t.target}: ${t.differingKeys.length} keys differ`,
        ...t.differingKeys.map((key) => `      ${key}`),
      );
    }
    return lines.join('\n');
  });
}
