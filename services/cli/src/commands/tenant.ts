/** `drover tenant create|list|show|failover|replicate`. */
import { randomUUID } from 'node:crypto';
import type { Config } from '@drover/config';
import { DroverError } from '@drover/core';
import {
  FailoverService,
  MigrationService,
  moveOutcome,
  moveStep,
  replicaState,
  type Tenant,
} from '@drover/rpc';
import { type Output, table } from '../output/terminal.ts';
import { allTenants, withClient } from './client.ts';

const DEADLINE_MS = 15_000;

function plainTenant(t: Tenant) {
  return {
    tenant: t.tenant,
    primary: t.primary,
    epoch: Number(t.epoch),
    database: t.database,
    tier: t.tier,
    replicas: t.replicas.map((r) => ({
      cluster: r.cluster,
      state: replicaState.toWord(r.state) ?? 'unknown',
    })),
    move: t.move === undefined ? null : { to: t.move.to, step: moveStep.toWord(t.move.step) ?? 'unknown' },
    lastMove:
      t.lastMove === undefined
        ? null
        : {
            from: t.lastMove.from,
            to: t.lastMove.to,
            outcome: moveOutcome.toWord(t.lastMove.outcome) ?? 'unknown',
            error: t.lastMove.error,
            holdMs: Number(t.lastMove.holdMs),
          },
    users: t.users,
  };
}

const replicasText = (t: Tenant) =>
  plainTenant(t)
    .replicas.map((r) => `${r.cluster} (${r.state})`)
    .join(', ');

export function tenantCreate(
  config: Config,
  tenant: string,
  o: Readonly<Record<string, unknown>>,
  out: Output,
): Promise<void> {
  return withClient(config, MigrationService, async (client) => {
    const replicas = Array.isArray(o['replica']) ? o['replica'].map(String) : [];
    const user = typeof o['user'] === 'string' ? o['user'] : 'app';
    const made = await client.createTenant(
      {
        requestId: randomUUID(),
        tenant,
        primary: String(o['primary']),
        replicas,
        tier: typeof o['tier'] === 'string' ? o['tier'] : '',
        user,
        password: typeof o['password'] === 'string' ? o['password'] : '',
        hasData: o['hasData'] === true,
      },
      { deadlineMs: DEADLINE_MS },
    );
    if (made.tenant === undefined)
      throw new DroverError('internal.assertion', 'the control plane gave no tenant');
    const t = made.tenant;
    out.result({ ...plainTenant(t), password: made.password }, () => {
      const password =
        made.password === '' ? '' : `\n  password of ${tenant}.${user}: ${made.password}   (shown once)`;
      return `${tenant} is served by ${t.primary}${t.replicas.length === 0 ? '' : `, standing by: ${replicasText(t)}`}${password}`;
    });
  });
}

export function tenantList(config: Config, out: Output): Promise<void> {
  return withClient(config, MigrationService, async (client) => {
    const tenants = await allTenants(client);
    out.result(tenants.map(plainTenant), () =>
      table(
        ['tenant', 'primary', 'epoch', 'replicas', 'moving'],
        tenants.map((t) => [
          t.tenant,
          t.primary,
          Number(t.epoch),
          replicasText(t),
          t.move === undefined ? '' : `to ${t.move.to}`,
        ]),
      ),
    );
  });
}

export function tenantShow(config: Config, tenant: string, out: Output): Promise<void> {
  return withClient(config, MigrationService, async (client) => {
    const { tenant: t } = await client.getTenant({ tenant }, { deadlineMs: DEADLINE_MS });
    if (t === undefined) throw new DroverError('tenant.unknown', `there is no tenant ${tenant}`);
    const p = plainTenant(t);
    out.result(p, () =>
      [
        `tenant    ${p.tenant} (${p.tier})`,
        `primary   ${p.primary}, database ${p.database}, epoch ${p.epoch}`,
        `replicas  ${replicasText(t) || 'none'}`,
        `users     ${p.users.map((user) => `${p.tenant}.${user}`).join(', ') || 'none'}`,
        ...(p.move === null ? [] : [`moving    to ${p.move.to}, step ${p.move.step}`]),
        ...(p.lastMove === null
          ? []
          : [
              `last move ${p.lastMove.from} → ${p.lastMove.to}: ${p.lastMove.outcome}${p.lastMove.error === '' ? `, held ${p.lastMove.holdMs} ms` : `: ${p.lastMove.error}`}`,
            ]),
      ].join('\n'),
    );
  });
}

export function tenantFailover(
  config: Config,
  tenant: string,
  args: { to: string; reason: string },
  out: Output,
): Promise<void> {
  return withClient(config, FailoverService, async (client) => {
    for await (const { event } of client.failoverTenant({
      requestId: randomUUID(),
      tenant,
      to: args.to,
      reason: args.reason,
    })) {
      if (event.case === 'step') out.line(`  ${moveStep.toWord(event.value) ?? 'step'}`);
      if (event.case === 'outcome') {
        const t = event.value;
        out.result(
          plainTenant(t),
          () =>
            `${tenant} is served by ${t.primary} under epoch ${t.epoch}; statements were held for ${t.lastMove?.holdMs ?? 0} ms`,
        );
      }
    }
  });
}

export function tenantReplicate(
  config: Config,
  tenant: string,
  args: { to: string; anew: boolean },
  out: Output,
): Promise<void> {
  return withClient(config, MigrationService, async (client) => {
    const bar = !out.json && process.stdout.isTTY;
    for await (const { event } of client.addReplica({
      requestId: randomUUID(),
      tenant,
      to: args.to,
      anew: args.anew,
    })) {
      if (event.case === 'progress') {
        const { phase, table: name, rows, total } = event.value;
        if (out.json) out.result({ phase, table: name, rows, total }, () => '');
        else if (bar)
          process.stdout.write(`\r\x1b[K${progressBar(Number(rows), Number(total))} ${phase} ${name}`);
      }
      if (event.case === 'outcome') {
        if (bar) process.stdout.write('\r\x1b[K');
        const t = event.value;
        out.result(plainTenant(t), () => `${tenant}: ${replicasText(t)}`);
      }
    }
  });
}

const BAR_WIDTH = 30;

export function progressBar(rows: number, total: number): string {
  const share = total === 0 ? 0 : Math.min(1, rows / total);
  const full = Math.round(share * BAR_WIDTH);
  return `[${'█'.repeat(full)}${'·'.repeat(BAR_WIDTH - full)}] ${String(Math.round(share * 100)).padStart(3)} % ${rows}/${total}`;
}
