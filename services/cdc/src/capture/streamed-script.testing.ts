/** For tests: a source's transactions in stretches, as parsed pgoutput calls, and what left for them in a line each. */
import { readHeader, type StreamedHeader } from '@drover/block';
import { clusterId, type Lsn } from '@drover/core';
import { Assembler } from './assembler.ts';
import { EpochMap } from './epoch-map.ts';
import { Lane } from './lane.ts';
import { Marks } from './marks.ts';
import type { Outgoing } from './outgoing.ts';
import { ITEMS, insert, readBlock, tuple } from './source-script.testing.ts';

export const TAGGING = {
  mode: 'column' as const,
  column: 'tenant',
  overrides: {},
  reference: [],
  exclude: [],
  schemaPrefix: 'tenant_',
  databasePrefix: 'tenant_',
};
export const IDENTITY = { source: clusterId('east'), database: 'app', systemId: '7', generation: 1 };

/** One reading of the source; `out` is the stream, which outlives it. */
export class StreamedScript {
  readonly lane: Lane;
  readonly to: Assembler;
  readonly out: Outgoing[];

  /** `marks`: what the readers before have left in the stream. */
  constructor(attempt: string, out: Outgoing[] = [], marks = new Marks(), partBytes = 1_000_000) {
    this.out = out;
    this.lane = new Lane(0, IDENTITY, marks);
    this.lane.assigned = () => out.length + 100;
    this.to = new Assembler({
      lanes: [this.lane],
      epochs: new EpochMap(),
      plan: { tagging: TAGGING, database: 'app', types: new Map() },
      partBytes,
      attempt,
      events: { onCut: () => this.flush(), onUnassigned: () => {} },
    });
    this.to.relation(ITEMS.oid, ITEMS);
  }

  /** One line for each message. */
  get told(): string[] {
    return this.out.map(brief);
  }

  flush(): void {
    this.out.push(...(this.lane.takeGroup(this.to.lastCommit)?.messages ?? []));
  }

  /** A stretch of the transaction `xid`; `rows` are `<subtransaction> <id> <tenant>`. */
  stretch(xid: number, ...rows: readonly string[]): void {
    this.to.streamStart(xid);
    for (const row of rows) {
      const [subxid = '', id = '', tenant = ''] = row.split(' ');
      this.to.streamChange(Number(subxid));
      insert(this.to, ITEMS.oid, tuple(id, tenant, 'x'));
    }
    this.to.streamStop();
  }

  commit(xid: number, lsn: number): void {
    this.to.streamCommit(xid, BigInt(lsn) as Lsn, BigInt(lsn + 1) as Lsn, 5n);
    this.flush();
  }

  /** A transaction that comes whole; `rows` are `<id> <tenant>`. */
  plain(lsn: number, ...rows: readonly string[]): void {
    this.to.begin(BigInt(lsn) as Lsn, 5n, lsn);
    for (const row of rows) {
      const [id = '', tenant = ''] = row.split(' ');
      insert(this.to, ITEMS.oid, tuple(id, tenant, 'x'));
    }
    this.to.commit(BigInt(lsn) as Lsn, BigInt(lsn + 1) as Lsn, 5n);
  }
}

function brief({ token, block }: Outgoing): string {
  const { streamed } = readHeader(block);
  const { records } = readBlock(token, block);
  const rows = records.flatMap((r) => (r.startsWith('begin') ? [] : [r.replace('message drover.', '')]));
  return [token, told(streamed), ...rows].filter((text) => text !== '').join(' | ');
}

function told(streamed: StreamedHeader | undefined): string {
  switch (streamed?.kind) {
    case undefined:
      return '';
    case 'part':
      return `part of ${streamed.attempt}/${streamed.xid} piece ${streamed.cut}${streamed.last ? ', last' : ''}`;
    case 'rollback':
      return `rollback ${streamed.attempt}/${streamed.xid}/${streamed.subxid}`;
    case 'commit':
      return `commit ${streamed.attempt}/${streamed.xid} parts ${streamed.parts} behind ${streamed.fromSeq}${streamed.rollbacks ? ', rollbacks' : ''}`;
    case 'together':
      return `together ${streamed.attempt}/${streamed.xid} of ${streamed.tenants}`;
    case 'session':
      return `session ${streamed.attempt}`;
  }
}
