/** What a reader must know of its database before it streams; asked on an ordinary connection as `drover_cdc`. */
import { DroverError, epoch, type Lsn, parseLsn } from '@drover/core';
import { PUBLICATION, type Queryable } from '@drover/pg';
import { EpochMap } from '../capture/epoch-map.ts';
import type { TypeFacts } from '../capture/tenant-value.ts';
import { type ReaderRecord, readRecord } from '../watch/reader-record.ts';
import { type Form, readForm } from './form.ts';

export interface Facts {
  readonly recordedSystemId: string;
  readonly generation: number;
  readonly lineage: { readonly systemId: string; readonly generation: number };
  readonly walEnd: Lsn;
  /** Where the slot stood when it was created; null: not recorded. */
  readonly slotLsn: Lsn | null;
  readonly epochs: EpochMap;
  readonly types: Map<number, TypeFacts>;
  /** What the reader before this one leaned on; null: nothing is recorded. */
  readonly record: ReaderRecord | null;
  /** What the captured tables ask for. */
  readonly form: Form;
}

/** Origin filtering came with PostgreSQL 16. */
const MAJOR_MIN = 16;

/** @throws DroverError `pg.version`, `pg.not_set_up` naming what is missing, `pg.identity_changed` */
export async function readFacts(client: Queryable, database: string, cluster: string): Promise<Facts> {
  const there = await client.query<{
    major: number;
    version: string;
    node: boolean;
    reader: boolean;
    publication: boolean;
  }>(
    `SELECT pg_catalog.current_setting('server_version_num')::int / 10000 AS major,
            pg_catalog.split_part(pg_catalog.current_setting('server_version'), ' ', 1) AS version,
            pg_catalog.to_regclass('drover.node') IS NOT NULL AS node,
            pg_catalog.to_regclass('drover.reader') IS NOT NULL AS reader,
            EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = $1) AS publication`,
    [PUBLICATION],
  );
  const { major = 0, version = '' } = there.rows[0] ?? {};
  if (major < MAJOR_MIN) {
    throw new DroverError('pg.version', `PostgreSQL ${version} is older than ${MAJOR_MIN}`, {
      hint: `upgrade the server of cluster "${cluster}"`,
    });
  }
  const missing = [
    there.rows[0]?.node === true ? '' : 'schema "drover"',
    there.rows[0]?.node !== true || there.rows[0].reader ? '' : 'table drover.reader (of a newer version)',
    there.rows[0]?.publication === true ? '' : `publication "${PUBLICATION}"`,
  ].filter((what) => what !== '');
  if (missing.length > 0) {
    throw new DroverError('pg.not_set_up', `database "${database}" lacks ${missing.join(' and ')}`, {
      hint: 'run `drover setup`',
    });
  }
  const node = await client.query<{
    cluster: string;
    system_id: string;
    generation: number;
    slot_lsn: string | null;
    wal_end: string;
  }>(
    `SELECT cluster, system_id, generation, pg_catalog.pg_current_wal_lsn()::text AS wal_end, slot_lsn::text AS slot_lsn FROM drover.node`,
  );
  const row = node.rows[0];
  if (row === undefined) {
    throw new DroverError('pg.not_set_up', `drover.node of database "${database}" is empty`, {
      hint: 'run `drover setup`',
    });
  }
  if (row.cluster !== cluster) {
    throw new DroverError(
      'pg.identity_changed',
      `database "${database}" was set up as cluster "${row.cluster}", not "${cluster}"`,
      { hint: 'check host and port of the cluster in drover.toml' },
    );
  }
  return {
    recordedSystemId: row.system_id,
    generation: row.generation,
    lineage: { systemId: row.system_id, generation: row.generation },
    walEnd: parseLsn(row.wal_end),
    slotLsn: row.slot_lsn === null ? null : parseLsn(row.slot_lsn),
    epochs: await readEpochs(client),
    types: await readTypes(client),
    record: await readRecord(client),
    form: await readForm(client),
  };
}

async function readEpochs(client: Queryable): Promise<EpochMap> {
  const epochs = new EpochMap();
  const { rows } = await client.query<{ tenant: string; epoch: string; lsn: string }>(
    'SELECT tenant, epoch::text AS epoch, opened_lsn::text AS lsn FROM drover.epoch',
  );
  for (const row of rows) epochs.learn(row.tenant, epoch(row.epoch), parseLsn(row.lsn));
  return epochs;
}

/** Domains (down to what they stand on) and types whose binary form is their text. */
async function readTypes(client: Queryable): Promise<Map<number, TypeFacts>> {
  const { rows } = await client.query<{ oid: number; base: number; text: boolean }>(
    `WITH RECURSIVE chain AS (
       SELECT t.oid, t.oid AS at, t.typtype, t.typbasetype, t.typsend FROM pg_catalog.pg_type t WHERE t.oid >= 16384
       UNION ALL
       SELECT c.oid, b.oid, b.typtype, b.typbasetype, b.typsend
       FROM chain c JOIN pg_catalog.pg_type b ON b.oid = c.typbasetype WHERE c.typtype = 'd'
     )
     SELECT c.oid, c.at AS base, c.typtype = 'e' OR p.proname IN ('textsend', 'citextsend', 'varcharsend') AS text
     FROM chain c LEFT JOIN pg_catalog.pg_proc p ON p.oid = c.typsend
     WHERE c.typtype IN ('b', 'e') AND (c.oid <> c.at OR c.typtype = 'e' OR p.proname IN ('textsend', 'citextsend', 'varcharsend'))`,
  );
  return new Map(rows.map((row) => [row.oid, { baseOid: row.base, sentAsText: row.text }]));
}
