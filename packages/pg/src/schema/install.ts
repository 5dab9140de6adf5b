/**
 * Installs schema `drover` in one database, or brings it up to date. Safe to repeat and to run from two places at once;
 * when everything is as it should be, nothing is written and no lock on a table is taken.
 */
import { type ClusterId, DroverError } from '@drover/core';
import type { NodeRow } from './node.sql.ts';
import { inTransaction, type Queryable, queryOne } from './queryable.ts';
import { ROLES } from './roles.ts';
import { hmacPads } from './sign-context.ts';
import { FINGERPRINT, SCHEMA_VERSION, STATEMENTS } from './statements.ts';
import { LOCK_CLASS } from './writer.sql.ts';

export interface SchemaOptions {
  readonly cluster: ClusterId;
  /** 32 bytes; the proxies sign tenant contexts with the same one. */
  readonly contextKey: Buffer;
}

/** What the installer did: nothing, or its statements. */
export interface InstallResult {
  readonly changed: boolean;
}

/**
 * Run by a superuser, or by a role that may create schemas in the database and SET ROLE to drover_admin. The four roles exist.
 * @throws DroverError pg.identity_changed when the database belongs to another cluster; pg.schema_newer
 */
export async function installDroverSchema(client: Queryable, options: SchemaOptions): Promise<InstallResult> {
  const pads = hmacPads(options.contextKey);
  return inTransaction(client, async () => {
    await client.query('SELECT pg_catalog.pg_advisory_xact_lock($1, 0)', [LOCK_CLASS]);
    const node = await installedNode(client);
    if (node !== null) checkInstalled(node, options.cluster);
    // The pads are compared here, not read out: only drover_admin may see them.
    await client.query(`SET LOCAL ROLE ${ROLES.admin}`);
    if (node?.fingerprint === FINGERPRINT && (await padsEqual(client, pads))) return { changed: false };
    await client.query('RESET ROLE');
    await client.query(`CREATE SCHEMA IF NOT EXISTS drover AUTHORIZATION ${ROLES.admin}`);
    await hideParameters(client);
    await client.query(`SET LOCAL ROLE ${ROLES.admin}`);
    await client.query('SET LOCAL client_min_messages = warning');
    for (const statement of STATEMENTS) await client.query(statement);
    await client.query(
      `INSERT INTO drover.node AS n (cluster, system_id, pad_inner, pad_outer, version, fingerprint)
       SELECT $1, c.system_identifier::text, $2, $3, $4, $5 FROM pg_catalog.pg_control_system() c
       ON CONFLICT (only_row) DO UPDATE SET pad_inner = EXCLUDED.pad_inner, pad_outer = EXCLUDED.pad_outer,
         version = EXCLUDED.version, fingerprint = EXCLUDED.fingerprint, updated_at = pg_catalog.now()`,
      [options.cluster, pads.inner, pads.outer, SCHEMA_VERSION, FINGERPRINT],
    );
    return { changed: true };
  });
}

/** The node's public columns, or null when the schema is not there. Needs a role that may read it. */
export async function readNode(client: Queryable): Promise<NodeRow | null> {
  const there = await queryOne<{ there: boolean }>(
    client,
    `SELECT pg_catalog.to_regclass('drover.node') IS NOT NULL AS there`,
  );
  if (there?.there !== true) return null;
  return queryOne<NodeRow & { [column: string]: unknown }>(
    client,
    'SELECT cluster, system_id AS "systemId", generation, version, fingerprint FROM drover.node',
  );
}

async function installedNode(client: Queryable): Promise<NodeRow | null> {
  const schema = await queryOne<{ owner: string }>(
    client,
    `SELECT pg_catalog.pg_get_userbyid(nspowner) AS owner FROM pg_catalog.pg_namespace WHERE nspname = 'drover'`,
  );
  if (schema === null) return null;
  if (schema.owner !== ROLES.admin) {
    throw new DroverError(
      'pg.schema_foreign',
      `schema "drover" exists and belongs to ${schema.owner}, not to ${ROLES.admin}`,
      {
        hint: 'if it is a remnant of Drover, change its owner; otherwise this database cannot be used with Drover',
      },
    );
  }
  await client.query(`SET LOCAL ROLE ${ROLES.admin}`);
  const node = await readNode(client);
  await client.query('RESET ROLE');
  return node;
}

function checkInstalled(node: NodeRow, cluster: ClusterId): void {
  if (node.version > SCHEMA_VERSION) {
    throw new DroverError(
      'pg.schema_newer',
      `schema "drover" is of version ${node.version}, newer than ${SCHEMA_VERSION} which this program knows`,
      { facts: { installed: node.version, known: SCHEMA_VERSION } },
    );
  }
  if (node.cluster !== cluster) {
    throw new DroverError(
      'pg.identity_changed',
      `this database was set up as cluster "${node.cluster}", not "${cluster}"`,
      {
        hint: 'check host and port of the cluster in drover.toml',
        facts: { recorded: node.cluster, configured: cluster },
      },
    );
  }
}

async function padsEqual(client: Queryable, pads: { inner: Buffer; outer: Buffer }): Promise<boolean> {
  const row = await queryOne<{ equal: boolean }>(
    client,
    'SELECT pad_inner = $1 AND pad_outer = $2 AS equal FROM drover.node',
    [pads.inner, pads.outer],
  );
  return row?.equal === true;
}

/** Keeps the pads out of the server's log where statements with their parameters are logged. Only superusers may. */
async function hideParameters(client: Queryable): Promise<void> {
  await client.query(
    `SELECT pg_catalog.set_config('log_parameter_max_length', '0', true), pg_catalog.set_config('log_parameter_max_length_on_error', '0', true)
     WHERE (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)`,
  );
}
