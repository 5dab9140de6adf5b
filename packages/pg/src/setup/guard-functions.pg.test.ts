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
    for (const call of [
      "pg_advisory_lock(1146246738, hashtext('other'))",
      "pg_try_advisory_xact_lock_shared(1146246738, hashtext('other'))",
      'pg_cancel_backend(pg_backend_pid())',
      'pg_terminate_backend(pg_backend_pid())',
      'pg_stat_get_activity(NULL)',
      'pg_stat_get_backend_activity(1)',
      'lo_get(1)',
    ])
      expect(await sqlStateOf(session.client.query(`SELECT ${call}`)), call).toBe('42501');
    const free = session.client.query('SELECT pg_advisory_xact_lock(1146246738)');
    expect(await sqlStateOf(free)).toBeNull();
    expect(await emitBarrier(f.admin, { tenant: 'acme', id: 'b1' })).toBeTypeOf('bigint');
    expect((await f.setup()).actions).toEqual([]);
    // Who does not come through Drover goes on, a role made later from the next setup on.
    const name = await server.createUser();
    expect((await f.setup()).actions.length).toBeGreaterThan(0);
    const app = await server.connect(f.database, name);
    await app.query('SELECT pg_advisory_xact_lock(1, 2), count(*), lo_creat(-1) FROM pg_stat_activity');
    await app.end();
    await f.close();
  });
});
