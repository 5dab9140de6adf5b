/**
 * In which form PostgreSQL sends values: binary, unless a captured table has a column of which that is impossible. pgoutput takes the binary form for
 * every type that has one, and then fails, for ever, at a container whose inner type has none (`seg[]`, `aclitem[]`, composites of such);
 * of some types PostgreSQL does not take back what it sends; and what names an object of the database (`regclass`, `regconfig`) is a number in binary,
 * which names another object, or none, on another server. One form is for a whole stream, so that one column makes all of it text.
 *
 * Where a large transaction is cut into parts depends on the sizes of its rows, hence on the form: while a stream holds a transaction of which
 * parts are missing, the source is read in the form in which they were cut (I1).
 */
import { DroverError, type Lsn } from '@drover/core';
import { PUBLICATION, type Queryable } from '@drover/pg';

export type Form = 'binary' | 'text';

/** The source is to be read anew: in this form until `until` is confirmed, or, without, in the one that its tables ask for. */
export class OtherForm extends Error {
  readonly fixed: { readonly form: Form; readonly until: Lsn } | null;

  constructor(fixed: OtherForm['fixed']) {
    super('the source is read in another form');
    this.fixed = fixed;
  }
}

/** tsquery, int2vector, oidvector: their empty values are not taken back (tsqueryrecv, int2vectorrecv, oidvectorrecv). */
const ONE_WAY = '3615, 22, 30';
/** regclass, regconfig, regproc and their like. */
const NAMES_OBJECT = `t.oid < 16384 AND t.typtype = 'b' AND t.typelem = 0 AND t.typname LIKE 'reg%'`;

/** Of all published tables: what their columns are made of; `inside`: of a container that has a binary form of its own. */
const NEEDS_TEXT = `
WITH RECURSIVE uses (oid, inside) AS (
  SELECT a.atttypid, false FROM pg_catalog.pg_publication p JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid
  JOIN pg_catalog.pg_attribute a ON a.attrelid = r.prrelid AND a.attnum > 0 AND NOT a.attisdropped WHERE p.pubname = $1
  UNION
  SELECT x.oid, x.inside FROM uses u JOIN pg_catalog.pg_type t ON t.oid = u.oid CROSS JOIN LATERAL (
    SELECT t.typbasetype AS oid, u.inside WHERE t.typtype = 'd'
    UNION ALL SELECT t.typelem, true WHERE t.typelem <> 0 AND t.typsubscript = 'pg_catalog.array_subscript_handler'::regproc
    UNION ALL SELECT f.atttypid, true FROM pg_catalog.pg_attribute f WHERE f.attrelid = t.typrelid AND f.attnum > 0 AND NOT f.attisdropped
    UNION ALL SELECT g.rngsubtype, true FROM pg_catalog.pg_range g WHERE g.rngtypid = t.oid
    UNION ALL SELECT g.rngtypid, true FROM pg_catalog.pg_range g WHERE g.rngmultitypid = t.oid) x)
SELECT EXISTS (SELECT FROM uses u JOIN pg_catalog.pg_type t ON t.oid = u.oid
  WHERE u.inside AND t.typsend = 0 OR t.oid IN (${ONE_WAY}) OR ${NAMES_OBJECT}) AS text`;

export async function readForm(client: Queryable): Promise<Form> {
  const { rows } = await client.query<{ text: boolean }>(NEEDS_TEXT, [PUBLICATION]);
  return rows[0]?.text === true ? 'text' : 'binary';
}

/** "no binary output function available": rows of a table that is different by now, or gone. Pure. */
export function isUnsendable(error: unknown): boolean {
  return error instanceof DroverError && error.code === 'pg.stream' && error.facts['sqlstate'] === '42883';
}
