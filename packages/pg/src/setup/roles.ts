/**
 * The four roles, their attributes, passwords and memberships: exactly those of the table in docs/architecture.md, whatever
 * was there before. Roles belong to the whole server: run once a cluster.
 */
import { quoteIdent, quoteLiteral } from '../quote.ts';
import { type Queryable, queryOne, queryRows } from '../schema/queryable.ts';
import { type DroverRole, ROLE_NAMES, ROLES } from '../schema/roles.ts';
import { type Action, runActions, runWherePossible } from './actions.ts';
import { scramVerifier, verifierMatches } from './scram.ts';

export type RolePasswords = Readonly<Record<DroverRole, string>>;

interface Attributes {
  readonly login: boolean;
  readonly superuser: boolean;
  readonly createdb: boolean;
  readonly createrole: boolean;
  readonly replication: boolean;
  readonly bypassrls: boolean;
}

const NOTHING = {
  login: true,
  superuser: false,
  createdb: false,
  createrole: false,
  replication: false,
  bypassrls: false,
};

const WANTED: Readonly<Record<DroverRole, Attributes>> = {
  drover_admin: { ...NOTHING, bypassrls: true },
  drover_cdc: { ...NOTHING, replication: true },
  drover_apply: { ...NOTHING, bypassrls: true },
  drover_tenant: NOTHING,
};

/** Memberships a role needs; drover_tenant must have none (doctor checks). */
const MEMBERSHIPS: readonly { readonly role: DroverRole; readonly of: string }[] = [
  { role: ROLES.admin, of: 'pg_read_all_stats' },
  { role: ROLES.admin, of: 'pg_signal_backend' },
];

const KEYWORDS: readonly (readonly [keyof Attributes, string])[] = [
  ['login', 'LOGIN'],
  ['superuser', 'SUPERUSER'],
  ['createdb', 'CREATEDB'],
  ['createrole', 'CREATEROLE'],
  ['replication', 'REPLICATION'],
  ['bypassrls', 'BYPASSRLS'],
];

/** The words of CREATE or ALTER ROLE that turn `have` into `want`; a new role has nothing. Pure. */
export function attributeChange(have: Attributes | null, want: Attributes): string {
  const from = have ?? { ...NOTHING, login: false };
  return KEYWORDS.filter(([key]) => from[key] !== want[key])
    .map(([key, word]) => (want[key] ? word : `NO${word}`))
    .join(' ');
}

/**
 * Run by a superuser, or by a role with CREATEROLE, REPLICATION and BYPASSRLS (since PostgreSQL 16 one may give only attributes
 * one has). What such a role may not grant comes back as refused actions.
 * @throws DroverError pg.privilege
 */
export async function ensureRoles(client: Queryable, passwords: RolePasswords): Promise<Action[]> {
  const me = await readMe(client);
  const done: Action[] = [];
  for (const role of ROLE_NAMES) {
    const have = await readRole(client, role);
    const stored = me.superuser && have !== null ? await readVerifier(client, role) : null;
    done.push(
      ...(await runActions(client, `role ${role}`, roleStatements(role, have, stored, passwords[role]))),
    );
  }
  if (!me.superuser) done.push(...(await takeAdmin(client)));
  for (const { role, of } of MEMBERSHIPS) {
    if (await isMember(client, role, of)) continue;
    done.push(
      ...(await runWherePossible(client, `role ${role}`, [`GRANT ${quoteIdent(of)} TO ${quoteIdent(role)}`])),
    );
  }
  if (!(await maySetReplicationRole(client))) {
    const sql = `GRANT SET ON PARAMETER session_replication_role TO ${quoteIdent(ROLES.apply)}`;
    done.push(...(await runWherePossible(client, `role ${ROLES.apply}`, [sql])));
  }
  return done;
}

/** Statements that make the role as it should be. Without a readable verifier the password is set every time. Pure but for salts. */
export function roleStatements(
  role: DroverRole,
  have: Attributes | null,
  storedVerifier: string | null,
  password: string,
): string[] {
  const attributes = attributeChange(have, WANTED[role]);
  const passwordPart = verifierMatches(storedVerifier, password)
    ? ''
    : `PASSWORD ${quoteLiteral(scramVerifier(password))}`;
  if (have !== null && attributes === '' && passwordPart === '') return [];
  const words = [have === null ? 'CREATE ROLE' : 'ALTER ROLE', quoteIdent(role), attributes, passwordPart];
  return [words.filter((word) => word !== '').join(' ')];
}

async function readMe(client: Queryable): Promise<{ name: string; superuser: boolean }> {
  const me = await queryOne<{ name: string; superuser: boolean }>(
    client,
    'SELECT rolname::text AS name, rolsuper AS superuser FROM pg_catalog.pg_roles WHERE rolname = current_user',
  );
  return me ?? { name: '', superuser: false };
}

async function readRole(client: Queryable, role: DroverRole): Promise<Attributes | null> {
  return queryOne<Attributes & { [column: string]: unknown }>(
    client,
    `SELECT rolcanlogin AS login, rolsuper AS superuser, rolcreatedb AS createdb, rolcreaterole AS createrole,
       rolreplication AS replication, rolbypassrls AS bypassrls FROM pg_catalog.pg_roles WHERE rolname = $1`,
    [role],
  );
}

async function readVerifier(client: Queryable, role: DroverRole): Promise<string | null> {
  const row = await queryOne<{ verifier: string | null }>(
    client,
    'SELECT rolpassword AS verifier FROM pg_catalog.pg_authid WHERE rolname = $1',
    [role],
  );
  return row?.verifier ?? null;
}

/** A setup user who is no superuser must be able to act as drover_admin, which owns what it installs. */
async function takeAdmin(client: Queryable): Promise<Action[]> {
  const may = await queryOne<{ may: boolean }>(
    client,
    `SELECT pg_catalog.pg_has_role(current_user, $1, 'SET') AS may`,
    [ROLES.admin],
  );
  if (may?.may === true) return [];
  return runActions(client, `role ${ROLES.admin}`, [
    `GRANT ${quoteIdent(ROLES.admin)} TO CURRENT_USER WITH INHERIT TRUE, SET TRUE`,
  ]);
}

async function isMember(client: Queryable, role: string, of: string): Promise<boolean> {
  const rows = await queryRows(
    client,
    `SELECT 1 FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles r ON r.oid = m.member
     JOIN pg_catalog.pg_roles g ON g.oid = m.roleid WHERE r.rolname = $1 AND g.rolname = $2`,
    [role, of],
  );
  return rows.length > 0;
}

async function maySetReplicationRole(client: Queryable): Promise<boolean> {
  const row = await queryOne<{ may: boolean }>(
    client,
    `SELECT pg_catalog.has_parameter_privilege($1, 'session_replication_role', 'SET') AS may`,
    [ROLES.apply],
  );
  return row?.may === true;
}
