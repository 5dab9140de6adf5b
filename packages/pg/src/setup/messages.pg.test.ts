import { testPostgres } from '@drover/testkit';
import { describe, expect, it } from 'vitest';
import { emitBarrier } from '../emit.ts';
import { columnTagging, fixture, sqlStateOf } from './fixture.testing.ts';

describe('logical messages (I4)', () => {
  it('cannot be forged by a tenant, can be written by Drover, and a second setup changes nothing', async () => {
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
    expect(await emitBarrier(f.admin, { tenant: 'acme', id: 'b1' })).toBeTypeOf('bigint');
    expect((await f.setup()).actions).toEqual([]);
    await f.close();
  });
});
