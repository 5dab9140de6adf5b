/**
 * The one place where names and texts become part of a statement. Values belong into parameters; literals are for
 * utility statements and replication connections, which take none.
 */
import { assert } from '@drover/core';

/** Always quoted, so that keywords and upper case survive (manual, 4.1.1). @throws on NUL or an empty name. */
export function quoteIdent(name: string): string {
  assert(name.length > 0 && !name.includes('\0'), 'not an identifier', { name });
  return `"${name.replaceAll('"', '""')}"`;
}

/**
 * A string constant that reads the same whatever `standard_conforming_strings` says: backslashes force the `E''`
 * form (manual, 4.1.2.2). @throws on NUL, which no text of PostgreSQL can hold.
 */
export function quoteLiteral(text: string): string {
  assert(!text.includes('\0'), 'a literal cannot hold a NUL byte');
  const quoted = text.replaceAll("'", "''");
  return quoted.includes('\\') ? ` E'${quoted.replaceAll('\\', '\\\\')}'` : `'${quoted}'`;
}

export function quoteTable(schema: string, name: string): string {
  return `${quoteIdent(schema)}.${quoteIdent(name)}`;
}
