/**
 * Ordinary connections, one by one or pooled. Guarantees: session settings that change what a statement means or
 * how a value is printed are pinned at start-up; a lost connection never ends the process; failures to connect are
 * a DroverError `pg.unreachable`, `pg.auth` or `pg.not_set_up`, while errors of statements stay as the server sent them
 * (see classify.ts) unless the connection itself was lost.
 */
import { Socket } from 'node:net';
import { DroverError } from '@drover/core';
import pg from 'pg';
import { classifyPgError } from './classify.ts';

export interface ConnectOptions {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  /** false, or options of tls.connect (`rejectUnauthorized`, `ca`, ...). */
  readonly ssl: false | object;
  readonly applicationName?: string;
  /** 0 or absent: no limit. */
  readonly statementTimeoutMs?: number;
  /** Name look-up, TCP, TLS and authentication together; default 10 s. */
  readonly connectTimeoutMs?: number;
}

/** What a statement can be sent to: a client, a client of a pool, or a {@link PgPool}. */
export interface Queryable {
  query<R extends pg.QueryResultRow = Record<string, unknown>>(
    text: string,
    params?: unknown[],
  ): Promise<pg.QueryResult<R>>;
}

const CONNECT_TIMEOUT_MS = 10_000;
const KEEPALIVE_DELAY_MS = 10_000;

/** Settings of the role or the database must not change what our statements mean (manual, 20.11, 8.5, 8.4). */
const PINNED = [
  'search_path=pg_catalog,pg_temp',
  'standard_conforming_strings=on',
  'datestyle=ISO,MDY',
  'intervalstyle=postgres',
  'timezone=UTC',
  'extra_float_digits=1',
  'bytea_output=hex',
  'array_nulls=on',
  'xmloption=content',
  'lc_monetary=C',
  'quote_all_identifiers=off',
  'default_transaction_isolation=read\\ committed',
]
  .map((setting) => `-c ${setting}`)
  .join(' ');

/** The configuration `pg` takes; replication adds its own fields to it. */
export function clientConfig(options: ConnectOptions): pg.ClientConfig {
  return {
    host: options.host,
    port: options.port,
    user: options.user,
    password: options.password,
    database: options.database,
    // pg assigns into this object, hence a copy for each connection.
    ssl: options.ssl === false ? false : { ...options.ssl },
    application_name: options.applicationName ?? 'drover',
    connectionTimeoutMillis: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEPALIVE_DELAY_MS,
    options: PINNED,
    ...(options.statementTimeoutMs ? { statement_timeout: options.statementTimeoutMs } : {}),
  };
}

/** @throws DroverError `pg.unreachable`, `pg.auth`, `pg.not_set_up` (no such database) */
export async function connectPg(options: ConnectOptions): Promise<pg.Client> {
  const client = new pg.Client(clientConfig(options));
  // A connection lost while idle: the next query reports it. Without a listener it would end the process.
  client.on('error', () => {});
  try {
    await client.connect();
    return client;
  } catch (error) {
    await discard(client);
    throw connectError(error, options);
  }
}

/** Ends a client that may be half open: never waits for a peer that does not answer. */
export async function discard(client: pg.Client): Promise<void> {
  const { stream } = client.connection;
  if (stream instanceof Socket) stream.destroy();
  await client.end().catch(() => {});
}

/** A failure to connect, with what to do about it. Pure. */
export function connectError(error: unknown, options: ConnectOptions): DroverError {
  const { kind, sqlstate } = classifyPgError(error);
  const where = `${options.host}:${options.port}`;
  const facts = { host: options.host, port: options.port, user: options.user, database: options.database };
  const reason = { facts: { ...facts, ...(sqlstate === undefined ? {} : { sqlstate }) }, cause: error };
  // 42501: no CONNECT on the database, or no REPLICATION attribute.
  if (kind === 'auth' || sqlstate === '42501') {
    // Without a SQLSTATE it was our side that refused: the certificate, or what SCRAM proved.
    const message =
      sqlstate === undefined
        ? `no trusted connection to PostgreSQL at ${where}`
        : `PostgreSQL at ${where} refused role ${options.user}`;
    return new DroverError('pg.auth', message, {
      ...reason,
      hint: options.user.startsWith('drover_')
        ? 'its password comes from [security] secret: correct that, or let `drover setup` make the role anew'
        : 'correct user and password (`setup_user`, `setup_password` of the cluster in drover.toml)',
    });
  }
  if (sqlstate === '3D000') {
    return new DroverError('pg.not_set_up', `${where} has no database ${options.database}`, reason);
  }
  return new DroverError('pg.unreachable', `cannot connect to PostgreSQL at ${where}`, reason);
}

/** The error of a statement: wrapped as `pg.unreachable` when the connection is gone, else unchanged. Pure. */
export function statementError(error: unknown, options: ConnectOptions): unknown {
  if (error instanceof DroverError) return error;
  const { kind } = classifyPgError(error);
  if (kind !== 'connection' && kind !== 'starting') return error;
  return new DroverError('pg.unreachable', `lost PostgreSQL at ${options.host}:${options.port}`, {
    facts: { host: options.host, port: options.port, database: options.database },
    cause: error,
  });
}
