import { clusterId } from '@drover/core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { preparedDatabase } from './prepared-database.ts';
import { type TestPostgres, testPostgres } from './test-postgres.ts';

let server: TestPostgres;
let database: string;

beforeAll(async () => {
  server = await testPostgres();
  database = await preparedDatabase(server, {
    cluster: clusterId('east'),
    sql: "CREATE TABLE note (tenant text, id int, body text, PRIMARY KEY (tenant, id)); INSERT INTO note VALUES ('a', 1, 'x')",
  });
});
afterAll(() => server.stop());

test('the roles log in with derived passwords, and a tenant without a context sees nothing', async () => {
  const admin = await server.connect(database, 'drover_admin');
  const tenant = await server.connect(database, 'drover_tenant');
  try {
    expect((await admin.query('SELECT * FROM public.note')).rowCount).toBe(1);
    expect((await tenant.query('SELECT * FROM public.note')).rowCount).toBe(0);
  } finally {
    await admin.end();
    await tenant.end();
  }
});
