/** `drover transform preview` and what `drover doctor` says of rules, on a real database that plays both clusters. */
import { configFromParts } from '@drover/config';
import type { Finding } from '@drover/pg';
import { testPostgres } from '@drover/testkit';
import { rulesOf } from '@drover/transform';
import type pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Output } from '../output/terminal.ts';
import { transformPreview } from './transform.ts';
import { transformFindings } from './transform-findings.ts';

let client: pg.Client;
let database: string;
let port: number;
let setupPassword: string;

beforeAll(async () => {
  const server = await testPostgres();
  port = server.port;
  setupPassword = server.connection().password;
  database = await server.createDatabase('preview');
  client = await server.connect(database);
  await client.query(`CREATE DOMAIN mail AS text;
    CREATE TABLE public.people (tenant text, id int, email mail, ssn text, status text, PRIMARY KEY (tenant, id));
    INSERT INTO people VALUES ('acme', 1, 'ada@example.com', '123', 'open'), ('acme', 2, NULL, '456', 'draft'), ('bolt', 3, 'b@x', '9', 'open')`);
});
afterAll(() => client.end());

function configOf(...transform: object[]) {
  return configFromParts({
    clusters: ['127.0.0.1', 'localhost'].map((host, i) => ({
      name: ['east', 'west'][i] as string,
      ...{
        host,
        port,
        databases: [database],
        sslmode: 'disable',
        setup_user: 'postgres',
        setup_password: setupPassword,
      },
    })),
    sections: { tagging: { column: 'tenant' } },
    transform: transform.map((rule) => ({ tables: ['public.people'], ...rule })),
  });
}

async function show(config: ReturnType<typeof configOf>, more: object = {}) {
  const results: Record<string, unknown>[] = [];
  const out = {
    json: true,
    line: () => undefined,
    result: (value: object) => void results.push({ ...value }),
  };
  const args = { config, table: 'public.people', tenant: 'acme', tier: 'standard', target: undefined };
  const rest = { cluster: undefined, database: undefined, rows: 5, ...more };
  const fits = await transformPreview({ ...args, ...rest }, out as unknown as Output);
  return { fits, results };
}

it('shows rows before and after, of one tenant, and what a filter leaves out', async () => {
  const rule = { actions: [{ mask: 'email', with: 'format-keeping' }, { drop: 'ssn' }] };
  const { fits, results } = await show(configOf(rule, { stage: 'publish', where: 'id < 2' }));
  expect(fits).toBe(true);
  const rows = results.filter((r) => 'before' in r) as unknown as {
    before: Record<string, string>;
    after: Record<string, string> | null;
  }[];
  expect(rows).toHaveLength(2);
  expect(rows[0]?.before).toMatchObject({ email: 'ada@example.com', ssn: '123' });
  expect(Object.keys(rows[0]?.after ?? {})).toEqual(['tenant', 'id', 'email', 'status']);
  expect(rows[0]?.after?.['email']).toMatch(/^(?!ada)[a-z]{3}@[a-z]{7}\.[a-z]{3}$/);
  expect(rows[1]?.after).toBeNull();
});

it('names what does not fit, with the SQL that mends it, and shows no rows', async () => {
  const { fits, results } = await show(configOf({ stage: 'publish', where: "status <> 'draft'" }));
  expect(fits).toBe(false);
  expect(results.some((r) => 'before' in r)).toBe(false);
  expect(results).toContainEqual(
    expect.objectContaining({
      severity: 'error',
      code: 'transform_filter_identity',
      sql: 'ALTER TABLE "public"."people" REPLICA IDENTITY FULL;',
    }),
  );
});

it('doctor says what the targets lack, and that such replicas never serve', async () => {
  const config = configOf({
    actions: [
      { mask: 'email', with: 'hash' },
      { rename: 'email', to: 'contact' },
    ],
  });
  const [east] = config.clusters;
  if (east === undefined) throw new Error('no cluster');
  const findings: Finding[] = await transformFindings(config, rulesOf(config), { cluster: east, database });
  expect(findings.map((f) => f.code)).toEqual(
    expect.arrayContaining(['transform_target_column', 'transform_not_whole']),
  );
});
