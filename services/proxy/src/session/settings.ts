/**
 * A client's settings: what it asked for at login and what it SET since, as SQL that gives any backend the same state. Pure.
 */
import { quoteIdent } from '@drover/pg';
import { readOptions } from '../protocol/startup.ts';
import type { Effect } from './statement-effects.ts';
import { protectedSetting } from './statement-effects.ts';

/** Startup parameters taken over as settings; others are refused by name (a startup packet is attacker's ground). */
const STARTUP_SETTINGS: ReadonlySet<string> = new Set([
  'application_name',
  'client_min_messages',
  'datestyle',
  'default_transaction_isolation',
  'default_transaction_read_only',
  'default_transaction_deferrable',
  'extra_float_digits',
  'bytea_output',
  'geqo',
  'idle_in_transaction_session_timeout',
  'intervalstyle',
  'lock_timeout',
  'search_path',
  'statement_timeout',
  'timezone',
  'transaction_timeout',
]);
const NOT_SETTINGS: ReadonlySet<string> = new Set([
  'user',
  'database',
  'options',
  'replication',
  'client_encoding',
]);

export type StartupSettings =
  | { readonly kind: 'settings'; readonly settings: ReadonlyMap<string, string> }
  | { readonly kind: 'refused'; readonly code: string; readonly message: string };

/** SQL that sets a value as a startup parameter does: lists are parsed, nothing is an identifier. */
export function setConfigSql(name: string, value: string): string {
  return `SELECT pg_catalog.set_config(${literal(name)}, ${literal(value)}, false)`;
}

function literal(text: string): string {
  const quoted = text.replaceAll("'", "''");
  return text.includes('\\') ? `E'${quoted.replaceAll('\\', '\\\\')}'` : `'${quoted}'`;
}

/** Settings by lower-case name to the SQL that makes them so, from a startup packet. SQL_ASCII (psql in the C locale) is taken as UTF8. */
export function startupSettings(parameters: ReadonlyMap<string, string>): StartupSettings {
  const settings = new Map<string, string>();
  const encoding = parameters.get('client_encoding');
  if (encoding !== undefined && !/^'?(utf-?8|unicode|auto|sql_ascii)'?$/i.test(encoding)) {
    return refuse('0A000', `client_encoding "${encoding}" is not supported: use UTF8`);
  }
  const options = readOptions(parameters.get('options') ?? '');
  if (options === null) return refuse('0A000', 'only -c name=value is understood in the startup options');
  for (const [name, value] of options) {
    const key = name.toLowerCase();
    if (!/^[a-z_][a-z0-9_$]*(\.[a-z_][a-z0-9_$]*)?$/.test(key))
      return refuse('42602', `invalid setting name "${name}"`);
    const why = protectedSetting(key, value);
    if (why !== null) return refuse('42501', why);
    if (key !== 'client_encoding') settings.set(key, setConfigSql(name, value));
  }
  for (const [name, value] of parameters) {
    const key = name.toLowerCase();
    if (NOT_SETTINGS.has(key)) continue;
    if (!STARTUP_SETTINGS.has(key)) return refuse('0A000', `unsupported startup parameter: ${name}`);
    settings.set(key, setConfigSql(name, value));
  }
  return { kind: 'settings', settings };
}

function refuse(code: string, message: string): StartupSettings {
  return { kind: 'refused', code, message };
}

/** What the clients of a tenant begin with: its own schema is where names are looked up first, when it has one. */
export function homeSettings(
  tenant: { readonly tenant: string; readonly isolation: string },
  schemaPrefix: string,
): ReadonlyMap<string, string> {
  if (tenant.isolation !== 'schema') return new Map();
  const path = `${quoteIdent(schemaPrefix + tenant.tenant)}, public`;
  return new Map([['search_path', setConfigSql('search_path', path)]]);
}

/** The settings of one client. {@link signature} equals another's exactly when the SQL does. */
export class Settings {
  readonly #startup: ReadonlyMap<string, string>;
  #current: ReadonlyMap<string, string>;
  #signature: string;

  constructor(startup: ReadonlyMap<string, string>) {
    this.#startup = startup;
    this.#current = startup;
    this.#signature = sign(startup);
  }

  /** SQL statements joined by `;`, empty when all is default. Safe to run after RESET ALL. */
  get signature(): string {
    return this.#signature;
  }

  startupSetting(key: string): string | undefined {
    return this.#startup.get(key);
  }

  apply(effect: Effect): void {
    switch (effect.kind) {
      case 'set': {
        const next = new Map(this.#current);
        next.delete(effect.key);
        next.set(effect.key, effect.sql);
        this.#replace(next);
        break;
      }
      case 'reset': {
        const next = new Map(this.#current);
        const wanted = this.#startup.get(effect.key);
        next.delete(effect.key);
        if (wanted !== undefined) next.set(effect.key, wanted);
        this.#replace(next);
        break;
      }
      case 'resetAll':
      case 'discardAll':
        this.#replace(this.#startup);
        break;
      case 'deallocate':
        break;
    }
  }

  #replace(next: ReadonlyMap<string, string>): void {
    this.#current = next;
    this.#signature = sign(next);
  }
}

function sign(settings: ReadonlyMap<string, string>): string {
  return [...settings.values()].join(';');
}
