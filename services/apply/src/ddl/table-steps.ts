/**
 * From what a source's command did to a table to what must be done to the replica's: only what the command changed, and of that only
 * what the replica has not got yet. So a change is safe to repeat, may have been made by hand before, and never undoes what
 * was changed at the replica on purpose. Columns are told apart by number: a rename is not a drop and an add. Pure.
 */
import { quoteIdent, quoteTable } from '@drover/pg';
import type { Action, Steps } from './action.ts';
import { Alteration, type Replica, Unsupported } from './alteration.ts';
import { columnDef, createSequence, keysFirst, replicaIdentity } from './column-def.ts';
import type { TableChange, TableShape } from './message.ts';

/** @throws Unsupported */
export function tableSteps(change: TableChange, replica: Replica): Steps {
  const { before, after } = change;
  const { table } = replica;
  if (after === null) return table === null ? none(change) : dropTable(change, table);
  if (table === null) return createTable(change, after, replica);
  return before === null ? none(change) : new Alteration(change, before, after, table, replica).steps();
}

const none = (change: TableChange): Steps => ({ expand: [], contract: [], touches: [`table:${change.oid}`] });

function dropTable(change: TableChange, table: TableShape): Steps {
  const key = `table:${change.oid}`;
  const drop = { key, sql: 'DROP TABLE \u0001T', oid: table.oid, column: null, owner: table.owner };
  const references = table.constraints
    .filter((c) => c.type === 'f')
    .map((c) => ({
      ...drop,
      key: `con:${change.oid}:${c.oid}`,
      sql: `ALTER TABLE \u0001T DROP CONSTRAINT ${quoteIdent(c.name)}`,
    }));
  // Rows after the drop do not come; rows before it may still.
  return { expand: [], contract: [...references, drop], touches: [key] };
}

function createTable(change: TableChange, shape: TableShape, replica: Replica): Steps {
  const owner = replica.ownerOf(shape.owner, shape.schemaOwner);
  const key = `table:${change.oid}`;
  const name = quoteTable(shape.schema, shape.name);
  const run = (sql: string, by = owner): Action => ({ key, sql, oid: null, column: null, owner: by });
  if (shape.inherits) throw new Unsupported('table inheritance is not replicated');
  const expand: Action[] = [];
  const sequences = shape.sequences;
  for (const sequence of sequences) expand.push(run(createSequence(sequence)));
  const withKey = shape.partkey === null ? '' : ` PARTITION BY ${shape.partkey}`;
  if (shape.parent !== null) {
    const parent = quoteTable(shape.parent.schema, shape.parent.name);
    expand.push(run(`CREATE TABLE ${name} PARTITION OF ${parent} ${shape.bound ?? 'DEFAULT'}${withKey}`));
  } else {
    const columns = shape.columns.map((column) => columnDef(column, column.default, true, replica.major));
    expand.push(run(`CREATE TABLE ${name} (${columns.join(', ')})${withKey}`));
  }
  // Without a row there is nothing that could violate them.
  for (const c of [...shape.constraints].sort(keysFirst)) {
    if (shape.parent !== null && (c.type === 'p' || c.type === 'u')) continue; // comes with the parent's
    expand.push(run(`ALTER TABLE ${name} ADD CONSTRAINT ${quoteIdent(c.name)} ${c.def}`));
  }
  for (const index of shape.indexes) expand.push(run(index.def));
  for (const sequence of sequences) {
    const column = shape.columns.find((c) => c.n === sequence.column);
    if (column === undefined) continue;
    const owned = `${name}.${quoteIdent(column.name)}`;
    expand.push(run(`ALTER SEQUENCE ${quoteTable(sequence.schema, sequence.name)} OWNED BY ${owned}`));
  }
  const identity = replicaIdentity(shape, name);
  if (identity !== null && shape.identity !== 'd') expand.push(run(identity));
  return { expand, contract: [], touches: [key] };
}
