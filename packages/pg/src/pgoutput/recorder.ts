/** A visitor that writes down what it is told, for tests. */
import { formatLsn } from '@drover/core';
import { tupleColumn, tupleEnd, tupleField, tupleWidth } from './tuple.ts';
import type { PgoutputVisitor } from './types.ts';

/** Columns of a tuple as kind and hex, `b:00000001`, `n`, `u`. Asserts that it ends where it should. */
export function showTuple(bytes: Buffer, start: number, end: number): string[] {
  if (tupleEnd(bytes, start, end) !== end) throw new Error('the tuple does not end at its end');
  const field = tupleField();
  return Array.from({ length: tupleWidth(bytes, start, end) }, (_, i) => {
    tupleColumn(bytes, start, i, field, end);
    const kind = String.fromCharCode(field.kind);
    return field.start === field.end ? kind : `${kind}:${bytes.toString('hex', field.start, field.end)}`;
  });
}

export function recorder(): PgoutputVisitor & { readonly events: unknown[][] } {
  const events: unknown[][] = [];
  return {
    events,
    begin: (lsn, time, xid) => void events.push(['begin', formatLsn(lsn), time, xid]),
    commit: (lsn, end, time) => void events.push(['commit', formatLsn(lsn), formatLsn(end), time]),
    relation: (oid, relation) => void events.push(['relation', oid, relation]),
    type: (oid, schema, name) => void events.push(['type', oid, schema, name]),
    insert: (oid, start, end, bytes) => void events.push(['insert', oid, showTuple(bytes, start, end)]),
    update: (oid, kind, oldStart, oldEnd, start, end, bytes) => {
      const old = kind === null ? null : showTuple(bytes, oldStart, oldEnd);
      events.push(['update', oid, kind, old, showTuple(bytes, start, end)]);
    },
    delete: (oid, kind, start, end, bytes) =>
      void events.push(['delete', oid, kind, showTuple(bytes, start, end)]),
    truncate: (oids, flags) => void events.push(['truncate', oids, flags]),
    message: (transactional, lsn, prefix, start, end, bytes) =>
      void events.push(['message', transactional, formatLsn(lsn), prefix, bytes.toString('hex', start, end)]),
    origin: (name) => void events.push(['origin', name]),
    streamStart: (xid, first) => void events.push(['streamStart', xid, first]),
    streamStop: () => void events.push(['streamStop']),
    streamChange: (xid) => void events.push(['streamChange', xid]),
    streamCommit: (xid, lsn, end, time) =>
      void events.push(['streamCommit', xid, formatLsn(lsn), formatLsn(end), time]),
    streamAbort: (xid, subxid) => void events.push(['streamAbort', xid, subxid]),
  };
}
