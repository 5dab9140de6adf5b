import { createSecretKey, randomBytes } from 'node:crypto';
import { clusterId, DroverError, type TenantId } from '@drover/core';
import { PgPool } from '@drover/pg';
import { createLogger } from '@drover/telemetry';
import { preparedDatabase, testPassword, testPostgres } from '@drover/testkit';
import type pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { FetchedKeys } from '../changes/unseal.ts';
import { reopenSealed } from './reopen.ts';

let root: pg.Client;
let pool: PgPool;
const log = createLogger({ service: 'test', level: 'error' });

beforeAll(async () => {
  const server = await testPostgres();
  const sql = 'CREATE TABLE item (tenant text, id int, PRIMARY KEY (tenant, id))';
  const database = await preparedDatabase(server, { cluster: clusterId('west'), sql });
  root = await server.connect(database);
  const user = 'drover_apply';
  const to = { host: '127.0.0.1', port: server.port, ssl: false, database } as const;
  pool = new PgPool({ ...to, user, password: testPassword(user), max: 1 });
});
afterAll(async () => {
  await pool.close();
  await root.end();
});
beforeEach(() => root.query('TRUNCATE drover.tenant, drover.ledger'));

/** Of the keys with these ids it is known how they can be had. */
function keys(
  known: Record<number, 'there' | 'to be fetched' | 'refused'>,
): FetchedKeys & { loads: number[] } {
  const fetched = new Set<number>();
  const loads: number[] = [];
  return {
    loads,
    lacks: (_, id) => known[id] === undefined || (known[id] === 'to be fetched' && !fetched.has(id)),
    load: async (_: TenantId, id: number) => {
      loads.push(id);
      fetched.add(id);
    },
    find: (_, id) => {
      if (known[id] === 'refused') throw new DroverError('block.sealed', 'no');
      return known[id] === undefined ? null : { id, secret: createSecretKey(randomBytes(32)) };
    },
  };
}

const REASON = 'block.sealed: no key';

async function park(tenant: string, detail: object, reason = REASON, source = 'east'): Promise<void> {
  await root.query(`SELECT drover.follow_tenant($1, 1, 'east', 'live', NULL, NULL, NULL)`, [tenant]);
  await root.query(`UPDATE drover.tenant SET feed = 'parked', reason = $2 WHERE tenant = $1`, [
    tenant,
    reason,
  ]);
  await root.query(
    `INSERT INTO drover.ledger (tenant, source, epoch, commit_lsn, part, kind, reason, detail) VALUES ($1, $2, 1, '0/0', 0, 'poison', $3, $4)`,
    [tenant, source, reason, detail],
  );
}
const rows = async () =>
  (
    await root.query<{ row: string }>(
      `SELECT concat_ws(' ', t.tenant, feed, t.reason, status, resolved_by) AS row FROM drover.tenant t JOIN drover.ledger USING (tenant) ORDER BY 1`,
    )
  ).rows.map(({ row }) => row);

describe('tenants parked for a key', () => {
  it('go on when it is there, or can be fetched', async () => {
    await park('a', { keyId: 1 });
    await park('b', { keyId: 2 });
    const found = keys({ 1: 'there', 2: 'to be fetched' });
    await reopenSealed(pool, found, log);
    expect(await rows()).toEqual(['a catchup retried apply', 'b catchup retried apply']);
    expect(found.loads).toEqual([2]);
    await reopenSealed(pool, found, log); // nothing more to do
    expect(found.loads).toEqual([2]);
  });

  it('stay while it is not, was shredded, or is another one by now', async () => {
    await park('gone', { keyId: 3 });
    await park('shredded', { keyId: 4 });
    await park('swapped', { keyId: 1, isAnother: true });
    await reopenSealed(pool, keys({ 1: 'there', 4: 'refused' }), log);
    expect(await rows()).toEqual(['gone', 'shredded', 'swapped'].map((t) => `${t} parked ${REASON} open`));
  });

  it('are no others: for another reason, of another source', async () => {
    await park('conflict', {}, 'apply.conflict: no');
    await park('since', { keyId: 1 }, 'apply.conflict: no');
    await park('elsewhere', { keyId: 1 }, REASON, 'north');
    await reopenSealed(pool, keys({ 1: 'there' }), log);
    expect((await rows()).map((row) => row.split(' ')[1])).toEqual(['parked', 'parked', 'parked']);
  });

  it('are left for the next look when NATS or PostgreSQL do not answer', async () => {
    await park('a', { keyId: 2 });
    const found = keys({ 2: 'to be fetched' });
    await reopenSealed(pool, { ...found, load: () => Promise.reject(new Error('away')) }, log);
    expect(await rows()).toEqual([`a parked ${REASON} open`]);
  });
});
