/**
 * How setup changes things: it looks at what is there, plans the statements that are missing, and runs those. So a second
 * run does nothing, and what was done can be shown.
 */
import { DroverError } from '@drover/core';
import type { Queryable } from '../schema/queryable.ts';

/** A statement that setup ran, or would have run had it been allowed to. */
export interface Action {
  /** What it is about, for people: `role drover_cdc`, `table public.orders`. */
  readonly object: string;
  readonly sql: string;
  /** Set when the server refused it for want of a privilege (42501): somebody with more rights must run `sql`. */
  readonly refused?: string;
}

/** Secrets are shown as `***`. */
const SECRET = /SCRAM-SHA-256\$[^']*/g;

/** Runs the statements in order. @throws DroverError pg.privilege, or what the server says */
export async function runActions(
  client: Queryable,
  object: string,
  statements: readonly string[],
): Promise<Action[]> {
  const done: Action[] = [];
  for (const sql of statements) {
    try {
      await client.query(sql);
    } catch (error) {
      throw privilegeError(error, sql);
    }
    done.push({ object, sql: sql.replace(SECRET, '***') });
  }
  return done;
}

/**
 * Like {@link runActions}, but a refusal for want of privilege is noted instead of thrown: for rights without which the
 * rest of the setup can still be made.
 */
export async function runWherePossible(
  client: Queryable,
  object: string,
  statements: readonly string[],
): Promise<Action[]> {
  const done: Action[] = [];
  for (const sql of statements) {
    try {
      await client.query(sql);
      done.push({ object, sql });
    } catch (error) {
      if (sqlState(error) !== '42501') throw error;
      done.push({ object, sql, refused: error instanceof Error ? error.message : String(error) });
    }
  }
  return done;
}

export function sqlState(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

function privilegeError(error: unknown, sql: string): unknown {
  if (sqlState(error) !== '42501') return error;
  const shown = sql.replace(SECRET, '***');
  return new DroverError('pg.privilege', `the setup user may not run: ${shown}`, {
    cause: error,
    hint: 'run drover setup with a superuser',
    facts: { sql: shown },
  });
}
