/**
 * A small stand-in for the capture service, for tests: reads the source's real pgoutput from the slot through SQL and publishes
 * real blocks, one group for each.
 */
import { BlockWriter, type Relation } from '@drover/block';
import { HEARTBEAT_TOKEN, type Publisher } from '@drover/bus';
import {
  clusterId,
  type Epoch,
  LSN_ZERO,
  type Lsn,
  must,
  partitionOf,
  tenantId,
  tenantToken,
} from '@drover/core';
import { PUBLICATION, parsePgoutput } from '@drover/pg';
import type pg from 'pg';
import { mergeTuples } from './changes/tuple.ts';

const EAST = clusterId('east');

export interface CaptureOptions {
  /** Of the slot; default 1. */
  readonly generation?: number;
  /** Raw bytes after which a transaction is cut into parts. */
  readonly partBytes?: number;
  /** Every transaction in a block of its own. */
  readonly single?: boolean;
  readonly epoch?: number;
  /** Whose a TRUNCATE is: the real capture service publishes it only where a table is one tenant's. */
  readonly truncateTenant?: string;
}

type Row = { lsn: Lsn; add: (writer: BlockWriter, relation: (oid: number) => number) => void; size: number };

/** Reads the slot through SQL and publishes one group per partition. */
export class Capture {
  readonly #source: pg.Client;
  readonly #slot: string;
  /** A tenant's database has one name on all clusters; here both live on one server, so blocks carry the target's. */
  readonly #database: string;
  readonly #publishers: readonly Publisher[];
  readonly #relations = new Map<number, Relation>();

  constructor(source: pg.Client, to: { slot: string; database: string; publishers: readonly Publisher[] }) {
    this.#source = source;
    this.#slot = to.slot;
    this.#database = to.database;
    this.#publishers = to.publishers;
  }

  async run(options: CaptureOptions): Promise<void> {
    const { rows } = await this.#source.query<{ data: Buffer }>(
      `SELECT data FROM pg_logical_slot_get_binary_changes($1, NULL, NULL, 'proto_version', '1', 'publication_names', $2,
        'messages', 'true', 'origin', 'none', 'binary', 'true')`,
      [this.#slot, PUBLICATION],
    );
    type Tx = { lsn: Lsn; time: bigint; changes: Row[] };
    const byTenant = new Map<string, Tx[]>();
    let lsn: Lsn = LSN_ZERO;
    let time = 0n;
    const push = (tenant: string, add: Row['add'], size: number): void => {
      const list = byTenant.get(tenant) ?? [];
      byTenant.set(tenant, list);
      if (list.at(-1)?.lsn !== lsn) list.push({ lsn, time, changes: [] });
      must(list.at(-1), 'transaction').changes.push({ lsn, add, size });
    };
    for (const { data } of rows) {
      parsePgoutput(data, 0, data.length, {
        begin: (l, t) => {
          lsn = l;
          time = t;
        },
        commit: () => undefined,
        relation: (oid, relation) => void this.#relations.set(oid, relation),
        type: () => undefined,
        origin: () => undefined,
        insert: (oid, start, end, bytes) =>
          push(this.#tenant(oid, bytes, start), (w, r) => w.insert(r(oid), bytes, start, end), end - start),
        update: (oid, kind, os, oe, ns, ne, bytes) => {
          const now = this.#tenant(oid, bytes, ns);
          const was = kind === null ? now : this.#tenant(oid, bytes, os);
          if (was === now)
            push(now, (w, r) => w.update(r(oid), kind, bytes, os, oe, ns, ne), oe - os + ne - ns);
          else {
            push(was, (w, r) => w.delete(r(oid), must(kind, 'old row'), bytes, os, oe), oe - os);
            // As the capture service does: what the new row leaves unchanged stands in the old one.
            const row = mergeTuples({ bytes, start: ns, end: ne }, { bytes, start: os, end: oe });
            push(now, (w, r) => w.insert(r(oid), row.bytes, row.start, row.end), row.end);
          }
        },
        delete: (oid, kind, start, end, bytes) =>
          push(
            this.#tenant(oid, bytes, start),
            (w, r) => w.delete(r(oid), kind, bytes, start, end),
            end - start,
          ),
        truncate: (oids, flags) => {
          const tenant = options.truncateTenant;
          if (tenant !== undefined) push(tenant, (w, r) => w.truncate(oids.map(r), flags), 10);
        },
        message: (_t, l, prefix, start, end, bytes) => {
          const content = bytes.subarray(start, end);
          const { tenant } = JSON.parse(content.toString()) as { tenant?: string };
          push(
            tenant === undefined || tenant === '*' ? HEARTBEAT_TOKEN : tenant,
            (w) => w.message(l, prefix, content),
            50,
          );
        },
      });
    }
    // Heartbeats, and what else stands in every lane, come last.
    const last = byTenant.get(HEARTBEAT_TOKEN);
    byTenant.delete(HEARTBEAT_TOKEN);
    for (const [tenant, list] of byTenant) await this.#publish(tenant, list, options);
    if (last !== undefined) await this.#publish(HEARTBEAT_TOKEN, last, options);
  }

  #tenant(oid: number, bytes: Buffer, start: number): string {
    const relation = must(this.#relations.get(oid), 'relation');
    const index = relation.columns.findIndex((c) => c.name === 'tenant');
    let at = start + 2;
    for (let i = 0; ; i++) {
      const kind = String.fromCharCode(bytes.readUInt8(at));
      const length = kind === 'n' || kind === 'u' ? 0 : bytes.readInt32BE(at + 1);
      if (i === index) return bytes.toString('utf8', at + 5, at + 5 + length);
      at += kind === 'n' || kind === 'u' ? 1 : 5 + length;
    }
  }

  async #publish(
    tenant: string,
    list: { lsn: Lsn; time: bigint; changes: Row[] }[],
    options: CaptureOptions,
  ): Promise<void> {
    const heartbeat = tenant === HEARTBEAT_TOKEN;
    const token = heartbeat ? tenant : tenantToken(tenantId(tenant));
    const partitions = heartbeat
      ? this.#publishers.map((_, i) => i)
      : [partitionOf(tenantId(tenant), this.#publishers.length)];
    for (const partition of partitions) {
      let writer = new BlockWriter();
      let first: Lsn | undefined;
      let last: Lsn = LSN_ZERO;
      let at = 0n;
      const flush = async (part: number, complete: boolean): Promise<void> => {
        if (first === undefined) return;
        const block = writer.finish({
          source: EAST,
          database: this.#database,
          tenant: token as never,
          epoch: (options.epoch ?? 1) as Epoch,
          systemId: '42',
          generation: options.generation ?? 1,
          firstLsn: first,
          lastLsn: last,
          part,
          complete,
          commitTimeUs: at,
        });
        const id = `42.${options.generation ?? 1}.${token}.${first.toString(16)}.${part}.${partition}`;
        await must(this.#publishers[partition], 'publisher').publishGroup(
          [{ token, block, id, lastLsn: last, part, complete }],
          LSN_ZERO,
        );
        writer = new BlockWriter();
        first = undefined;
      };
      for (const tx of list) {
        let part = 0;
        const begin = (): void => {
          first ??= tx.lsn;
          last = tx.lsn;
          at = tx.time;
          writer.begin(tx.lsn, tx.time, 1);
        };
        const size = tx.changes.reduce((sum, c) => sum + c.size, 0);
        const big = options.partBytes !== undefined && size > options.partBytes;
        if (big || options.single === true) await flush(0, true);
        begin();
        for (const [i, change] of tx.changes.entries()) {
          change.add(writer, (oid) => writer.relation(must(this.#relations.get(oid), 'relation')));
          if (big && writer.size > (options.partBytes ?? 0) && i < tx.changes.length - 1) {
            await flush(part++, false);
            begin();
          }
        }
        if (big) await flush(part, true);
      }
      await flush(0, true);
    }
  }
}
