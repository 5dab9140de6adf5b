/** Parts of CREATE and ALTER TABLE, from shapes. Pure. */
import { quoteIdent, quoteTable } from '@drover/pg';
import type { ColumnShape, SequenceShape, TableShape } from './message.ts';

export function createSequence(s: SequenceShape): string {
  return `CREATE SEQUENCE IF NOT EXISTS ${quoteTable(s.schema, s.name)} AS ${s.type}${sequenceOptions(s)}`;
}

const sequenceOptions = (s: SequenceShape): string =>
  ` START ${s.start} INCREMENT ${s.increment} MINVALUE ${s.min} MAXVALUE ${s.max} CACHE ${s.cache}${s.cycle ? ' CYCLE' : ''}`;

/** `fallback`: the default it is made with, SQL. */
export function columnDef(
  column: ColumnShape,
  fallback: string | null,
  notNull: boolean,
  major: number,
): string {
  const words = [quoteIdent(column.name), column.type];
  if (column.collation !== null) words.push(`COLLATE ${column.collation}`);
  if (column.generated !== '') {
    // Before 18 there are no virtual columns; a stored one has the same values.
    const stored = column.generated === 's' || major < 18 ? 'STORED' : 'VIRTUAL';
    words.push(`GENERATED ALWAYS AS (${column.expression}) ${stored}`);
  } else if (column.identity !== '') {
    words.push(identityDef(column));
  } else if (fallback !== null) {
    words.push(`DEFAULT ${fallback}`);
  }
  if (notNull && column.notNull) words.push('NOT NULL');
  return words.join(' ');
}

export function identityDef(column: ColumnShape): string {
  const { sequence } = column;
  const name = sequence === null ? '' : `SEQUENCE NAME ${quoteTable(sequence.schema, sequence.name)}`;
  const options = sequence === null ? '' : ` (${name}${sequenceOptions(sequence)})`;
  return `GENERATED ${column.identity === 'a' ? 'ALWAYS' : 'BY DEFAULT'} AS IDENTITY${options}`;
}

export function replicaIdentity(shape: TableShape, name: string): string | null {
  switch (shape.identity) {
    case 'f':
      return `ALTER TABLE ${name} REPLICA IDENTITY FULL`;
    case 'n':
      return `ALTER TABLE ${name} REPLICA IDENTITY NOTHING`;
    case 'd':
      return `ALTER TABLE ${name} REPLICA IDENTITY DEFAULT`;
    case 'i':
      return shape.identityIndex === null
        ? null
        : `ALTER TABLE ${name} REPLICA IDENTITY USING INDEX ${quoteIdent(shape.identityIndex)}`;
  }
}

/** Primary keys, then other keys and checks, then references to them. */
export const keysFirst = (a: { type: string }, b: { type: string }): number =>
  Number(a.type === 'f') - Number(b.type === 'f') || Number(a.type !== 'p') - Number(b.type !== 'p');
