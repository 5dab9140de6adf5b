import { testPostgres } from '@drover/testkit';
import { describe, expect, it } from 'vitest';
import { emitBarrier } from '../emit.ts';
import { columnTagging, fixture, sqlStateOf } from './fixture.testing.ts';

describe('guarded built-in functions (I4, I6)', () => {
  it('are out of a tenant’s reach, in Drover’s, and a second setup changes nothing', async () => {
    const server = await testPostgres();
    const f = await fixture(server, {
      sql: 'CREATE TABLE public.t (tenant text, id int, PRIMARY KEY (tenant, id))',
      tagging: columnTagging('tenant'),
    });
    const session = await f.tenant('acme');
    for (const flags of ['true', 'false']) {
      const forged = session.client.query(
        `SELECT pg_logical_emit_message(${flags}, 'drover.epoch', '{"tenant":"other","epoch":99}')`,
      );
      expect(await sqlStateOf(forged)).toBe('42501');
    }
    for (const view of ['pg_prepared_statements', 'pg_cursors']) {
      const look = session.client.query(`DO $$ BEGIN PERFORM * FROM ${view}; END $$`);
      expect(await sqlStateOf(look)).toBe('42501');
    }
    expect(await emitBarrier(f.admin, { tenant: 'acme', id: 'b1' })).toBeTypeOf('bigint');
    expect((await f.setup()).actions).toEqual([]);
    await f.close();
  });
});
