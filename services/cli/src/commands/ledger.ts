/** `drover ledger list|show|retry|skip`. */
import { randomUUID } from 'node:crypto';
import type { Config } from '@drover/config';
import { DroverError } from '@drover/core';
import { type LedgerEntry, ledgerAction, ledgerStatus, ReplicationService, timestampDate } from '@drover/rpc';
import { type Output, table } from '../output/terminal.ts';
import { withClient } from './client.ts';

const DEADLINE_MS = 15_000;

export interface LedgerQuery {
  readonly tenant: string | undefined;
  readonly open: boolean;
  readonly limit: number;
  /** Only this entry, with its rows. */
  readonly cluster?: string;
  readonly id?: number;
  readonly database?: string;
}

function plainEntry(e: LedgerEntry) {
  return {
    cluster: e.cluster,
    database: e.database,
    id: Number(e.id),
    tenant: e.tenant,
    kind: e.kind,
    source: e.source,
    epoch: Number(e.epoch),
    commitLsn: e.commitLsn,
    status: ledgerStatus.toWord(e.status) ?? 'unknown',
    reason: e.reason,
    createdAt: e.createdAt === undefined ? '' : timestampDate(e.createdAt).toISOString(),
    resolvedBy: e.resolvedBy,
    detail: e.detail === '' ? null : (JSON.parse(e.detail) as unknown),
  };
}

export function ledgerList(config: Config, query: LedgerQuery, out: Output): Promise<void> {
  return withClient(config, ReplicationService, async (client) => {
    const answer = await client.listLedger(
      {
        tenant: query.tenant ?? '',
        openOnly: query.open,
        limit: query.limit,
        cluster: query.cluster ?? '',
        id: BigInt(query.id ?? 0),
      },
      { deadlineMs: DEADLINE_MS },
    );
    for (const cluster of answer.unreachable) out.line(`! the ledger of ${cluster} could not be read`);
    if (query.id !== undefined) {
      const [found] = answer.entries;
      if (found === undefined)
        throw new DroverError('rpc.invalid', `the ledger of ${query.cluster} has no entry ${query.id}`, {
          hint: '`drover ledger list`',
        });
      const entry = plainEntry(found);
      out.result(entry, () => JSON.stringify(entry, null, 2));
      return;
    }
    const entries = answer.entries.map(plainEntry);
    if (answer.more) out.line(`! the newest ${entries.length}; there are older ones`);
    out.result(entries, () =>
      entries.length === 0
        ? 'the ledger is empty'
        : table(
            ['cluster', 'id', 'tenant', 'kind', 'from', 'commit', 'status', 'at', 'reason'],
            entries.map((e) => [
              e.cluster,
              e.id,
              e.tenant,
              e.kind,
              e.source,
              e.commitLsn,
              e.status,
              e.createdAt,
              e.reason.slice(0, 100),
            ]),
          ),
    );
  });
}

export function ledgerResolve(
  config: Config,
  args: { cluster: string; database: string; id: number; action: 'retry' | 'skip'; who: string },
  out: Output,
): Promise<void> {
  return withClient(config, ReplicationService, async (client) => {
    const { entry } = await client.resolveLedger(
      {
        requestId: randomUUID(),
        cluster: args.cluster,
        database: args.database,
        id: BigInt(args.id),
        action: ledgerAction.toProto(args.action),
        who: args.who,
      },
      { deadlineMs: DEADLINE_MS },
    );
    if (entry === undefined) throw new DroverError('internal.assertion', 'the control plane gave no entry');
    const plain = plainEntry(entry);
    out.result(plain, () => `${plain.cluster}/${plain.id} of ${plain.tenant}: ${plain.status}`);
  });
}
