/**
 * `drover setup` for one cluster: roles, then each database's schema, rights, policies, publication, slot; origins last. Every
 * step looks before it acts, so a repeated run does nothing and an interrupted one is finished by the next (I10).
 */
import type { ClusterId } from '@drover/core';
import { DroverError } from '@drover/core';
import { readServer } from '../catalog/read-server.ts';
import { readTables } from '../catalog/read-tables.ts';
import { slotName } from '../names.ts';
import { ensureDdlCapture, tellShapes } from '../schema/ddl.ts';
import { installDroverSchema } from '../schema/install.ts';
import type { Queryable } from '../schema/queryable.ts';
import type { Tagging } from '../tagging.ts';
import type { Action } from './actions.ts';
import { adoptTables } from './adopt.ts';
import {
  type ClassifiedTable,
  classifyTables,
  isCaptured,
  isProtectable,
  publishedTables,
  tagOf,
  useOf,
} from './captured.ts';
import { grantConnect, grantTable } from './grants.ts';
import { guardFunctions } from './guard-functions.ts';
import { ensureOrigins, grantOrigins } from './origins.ts';
import { protectTable } from './protect.ts';
import { ensurePublication } from './publication.ts';
import { ensureRoles, type RolePasswords } from './roles.ts';
import { ensureSequenceCarriers } from './sequences.ts';
import { dropSlot, ensureSlot } from './slot.ts';

/** A connection that setup closes. */
export interface SetupConnection extends Queryable {
  end(): Promise<void>;
}

export type SetupStep =
  | 'roles'
  | 'schema'
  | 'adopt'
  | 'grants'
  | 'protect'
  | 'publication'
  | 'slot'
  | 'ddl'
  | 'origins';

export interface SetupProgress {
  readonly step: SetupStep;
  readonly database: string;
  /** Done in this step; empty: all was as it should be. Actions with `refused` are left to a superuser. */
  readonly actions: readonly Action[];
  /** Set when a step waits for something, for the impatient. */
  readonly note?: string;
}

export interface SetupOptions {
  readonly cluster: ClusterId;
  readonly databases: readonly string[];
  /** As the setup user. */
  readonly connect: (database: string) => Promise<SetupConnection>;
  readonly passwords: RolePasswords;
  readonly contextKey: Buffer;
  readonly tagging: Tagging;
  /** Names from `originName()` for every source and partition this cluster is fed from. */
  readonly origins: readonly string[];
  /** Failover slots, PostgreSQL 17+. Default true. */
  readonly failoverSlots?: boolean;
  /** Make tables fit first, see `adopt.ts`. Default false: they are left alone and the publication may refuse updates. */
  readonly adopt?: boolean;
  /** `[capture] ddl`: schema changes travel with the rows. Default true. */
  readonly ddl?: boolean;
  /** Replace a slot that was lost or recreate one that must start anew. The tenants must be copied anew afterwards. */
  readonly resync?: boolean;
  readonly progress?: (event: SetupProgress) => void;
}

export interface SetupResult {
  /** Everything that was changed; empty when all was as it should be. */
  readonly actions: readonly Action[];
  /** What the setup user may not do: statements for a superuser. */
  readonly refused: readonly Action[];
  /** Tables that are not captured because nothing says whose rows they hold. */
  readonly unclassified: readonly string[];
}

/** @throws DroverError config.invalid without databases, pg.version, and those of the steps */
export async function setupCluster(options: SetupOptions): Promise<SetupResult> {
  const actions: Action[] = [];
  const unclassified: string[] = [];
  const first = options.databases[0];
  if (first === undefined)
    throw new DroverError('config.invalid', `cluster "${options.cluster}" names no databases`);
  for (const database of options.databases) {
    const client = await options.connect(database);
    try {
      const report = (step: SetupStep, done: readonly Action[]) => {
        actions.push(...done);
        options.progress?.({ step, database, actions: done });
      };
      if (database === first) {
        await refuseOld(client);
        report('roles', await ensureRoles(client, options.passwords));
      }
      unclassified.push(...(await setupDatabase(client, database, options, report)));
      if (database === first) report('origins', await ensureOrigins(client, options.origins));
    } finally {
      await client.end();
    }
  }
  return {
    actions: actions.filter((a) => a.refused === undefined),
    refused: actions.filter((a) => a.refused !== undefined),
    unclassified,
  };
}

async function setupDatabase(
  client: Queryable,
  database: string,
  options: SetupOptions,
  report: (step: SetupStep, done: readonly Action[]) => void,
): Promise<string[]> {
  const schema = await installDroverSchema(client, {
    cluster: options.cluster,
    contextKey: options.contextKey,
  });
  report(
    'schema',
    schema.changed ? [{ object: 'schema drover', sql: 'installed or brought up to date' }] : [],
  );
  if (options.adopt === true) report('adopt', await adoptTables(client, { tagging: options.tagging }));
  const classified = classifyTables(await readTables(client), options.tagging, database);
  // Policies before rights: tenants never have access that is not limited.
  report('protect', await each(classified, isProtectable, (c) => protect(client, c)));
  report('grants', [
    ...(await grantConnect(client)),
    ...(await grantOrigins(client)),
    ...(await guardFunctions(client)),
    ...(await ensureSequenceCarriers(client)),
    ...(await each(classified, isCaptured, (c) => grantTable(client, { ...nameOf(c), use: useOf(c) }))),
  ]);
  report('publication', await ensurePublication(client, publishedTables(classified)));
  const ddl = await ensureDdlCapture(client, { enabled: options.ddl ?? true, tagging: options.tagging });
  const made = await slot(client, database, options);
  report('slot', made);
  report('ddl', [...ddl, ...(await tellShapes(client, made.length > 0))]);
  return classified
    .filter((c) => c.class.kind === 'unclassified' && !c.isPartition)
    .map((c) => `${c.table.schema}.${c.table.name}`);
}

async function slot(client: Queryable, database: string, options: SetupOptions): Promise<Action[]> {
  const name = slotName(database);
  if (options.resync === true) await dropSlot(client, name);
  const result = await ensureSlot(client, name, {
    failover: options.failoverSlots ?? true,
    onWait: (older) =>
      options.progress?.({
        step: 'slot',
        database,
        actions: [],
        note: `waiting for ${older} open transaction${older === 1 ? '' : 's'} to end`,
      }),
  });
  if (!result.created) return [];
  return [
    { object: `slot ${name}`, sql: `SELECT pg_create_logical_replication_slot('${name}', 'pgoutput')` },
  ];
}

async function protect(client: Queryable, c: ClassifiedTable): Promise<Action[]> {
  const tag = tagOf(c);
  return tag === null ? [] : protectTable(client, { ...nameOf(c), ...tag });
}

function nameOf(c: ClassifiedTable): { schema: string; table: string } {
  return { schema: c.table.schema, table: c.table.name };
}

async function each(
  tables: readonly ClassifiedTable[],
  which: (c: ClassifiedTable) => boolean,
  work: (c: ClassifiedTable) => Promise<Action[]>,
): Promise<Action[]> {
  const done: Action[] = [];
  for (const c of tables) if (which(c)) done.push(...(await work(c)));
  return done;
}

async function refuseOld(client: Queryable): Promise<void> {
  const server = await readServer(client);
  if (server.majorVersion >= 16) return;
  throw new DroverError('pg.version', `PostgreSQL ${server.version} is older than 16`);
}
