/**
 * What one command did to a table that the replica has: only what it changed, and of that only what the replica has not got yet. Columns are
 * told apart by number. Pure.
 */
import { quoteIdent, quoteLiteral, quoteTable } from '@drover/pg';
import type { Action, Steps } from './action.ts';
import { columnDef, createSequence, identityDef, keysFirst, replicaIdentity } from './column-def.ts';
import type { ColumnShape, TableChange, TableShape } from './message.ts';
import { widens } from './widening.ts';

export interface Replica {
  /** The replica's table, null: it has none. */
  readonly table: TableShape | null;
  /** The source's column number to the replica's. */
  readonly pairs: Readonly<Record<string, number>>;
  /** Major version of the replica. */
  readonly major: number;
  /** Whether a role's objects can be made as that role; the role to take otherwise. */
  readonly ownerOf: (role: string, schemaOwner: string) => string;
}

/** Something that cannot be made on a replica; the message says what. */
export class Unsupported extends Error {}

export class Alteration {
  readonly #change: TableChange;
  readonly #before: TableShape;
  readonly #after: TableShape;
  readonly #table: TableShape;
  readonly #replica: Replica;
  readonly #expand: Action[] = [];
  readonly #contract: Action[] = [];
  readonly #touches = new Set<string>();

  constructor(
    change: TableChange,
    before: TableShape,
    after: TableShape,
    table: TableShape,
    replica: Replica,
  ) {
    this.#change = change;
    this.#before = before;
    this.#after = after;
    this.#table = table;
    this.#replica = replica;
  }

  steps(): Steps {
    this.#rename();
    this.#partition();
    // What a partition takes over from its parent, or keeps when it leaves, it takes and keeps here as well.
    if (this.#before.parent?.oid === this.#after.parent?.oid) {
      this.#lostConstraints();
      if (this.#after.parent === null) this.#columns();
      this.#newConstraints();
    }
    this.#identity();
    return { expand: this.#expand, contract: this.#contract, touches: [...this.#touches] };
  }

  #admit(key: string, sql: string, column: number | null = null): void {
    this.#touches.add(key);
    this.#expand.push({ key, sql, oid: this.#table.oid, column, owner: this.#table.owner });
  }

  #restrict(
    key: string,
    sql: string,
    column: number | null = null,
    more: Pick<Action, 'added' | 'latest' | 'type'> = {},
  ): void {
    this.#touches.add(key);
    this.#contract.push({ key, sql, oid: this.#table.oid, column, owner: this.#table.owner, ...more });
  }

  #key(kind: string, id: number): string {
    return `${kind}:${this.#change.oid}:${id}`;
  }

  #rename(): void {
    const [before, after, table] = [this.#before, this.#after, this.#table];
    const key = `name:${this.#change.oid}`;
    if (before.schema !== after.schema && table.schema === before.schema)
      this.#admit(key, `ALTER TABLE \u0001T SET SCHEMA ${quoteIdent(after.schema)}`);
    if (before.name !== after.name && table.name === before.name)
      this.#admit(key, `ALTER TABLE \u0001T RENAME TO ${quoteIdent(after.name)}`);
  }

  #partition(): void {
    const [before, after, table] = [this.#before, this.#after, this.#table];
    if (before.parent?.oid === after.parent?.oid && before.bound === after.bound) return;
    const key = `part:${this.#change.oid}`;
    this.#touches.add(key);
    if (after.parent === null) {
      // Until then rows for the table itself go into it as well.
      if (table.parent !== null) {
        const parent = quoteTable(table.parent.schema, table.parent.name);
        this.#restrict(key, `ALTER TABLE ${parent} DETACH PARTITION \u0001T`);
      }
      return;
    }
    const parent = quoteTable(after.parent.schema, after.parent.name);
    if (table.parent !== null && table.bound === after.bound) return;
    if (table.parent !== null) this.#admit(key, `ALTER TABLE ${parent} DETACH PARTITION \u0001T`);
    this.#admit(key, `ALTER TABLE ${parent} ATTACH PARTITION \u0001T ${after.bound ?? 'DEFAULT'}`);
  }

  #lostConstraints(): void {
    const there = new Set(this.#table.constraints.map((c) => c.name));
    const indexes = new Set(this.#table.indexes.map((i) => i.name));
    for (const lost of this.#before.constraints) {
      const now = this.#after.constraints.find((c) => c.oid === lost.oid);
      const key = this.#key('con', lost.oid);
      if (now === undefined) {
        this.#touches.add(key);
        if (there.has(lost.name))
          this.#admit(key, `ALTER TABLE \u0001T DROP CONSTRAINT ${quoteIdent(lost.name)}`);
      } else if (now.name !== lost.name && there.has(lost.name) && !there.has(now.name)) {
        this.#admit(
          key,
          `ALTER TABLE \u0001T RENAME CONSTRAINT ${quoteIdent(lost.name)} TO ${quoteIdent(now.name)}`,
        );
      }
    }
    for (const lost of this.#before.indexes) {
      const now = this.#after.indexes.find((i) => i.oid === lost.oid);
      const key = this.#key('idx', lost.oid);
      // It has become a constraint's: that takes it as it is.
      if (now === undefined) {
        this.#touches.add(key);
        const schema = this.#table.schema;
        if (indexes.has(lost.name) && !this.#after.constraints.some((c) => c.name === lost.name))
          this.#admit(key, `DROP INDEX ${quoteTable(schema, lost.name)}`);
      } else if (now.name !== lost.name && indexes.has(lost.name)) {
        this.#admit(
          key,
          `ALTER INDEX ${quoteTable(this.#table.schema, lost.name)} RENAME TO ${quoteIdent(now.name)}`,
        );
      }
    }
  }

  /** The replica's column that stands for the source's: by number, or by a name that stands for no other. */
  #column(n: number, name: string): ColumnShape | undefined {
    const { pairs } = this.#replica;
    const paired = pairs[String(n)];
    if (paired !== undefined) return this.#table.columns.find((c) => c.n === paired);
    const taken = new Set(Object.values(pairs));
    return this.#table.columns.find((c) => c.name === name && !taken.has(c.n));
  }

  #columns(): void {
    const gone = this.#before.columns.filter((b) => !this.#after.columns.some((a) => a.n === b.n));
    const wanted = new Set(this.#after.columns.map((c) => c.name));
    const names = new Map(this.#table.columns.map((c) => [c.n, c.name]));
    for (const column of gone) {
      const key = this.#key('col', column.n);
      this.#touches.add(key);
      this.#touches.add(this.#key('null', column.n));
      const there = this.#column(column.n, column.name);
      if (there === undefined) continue;
      if (there.notNull && there.identity === '' && there.generated === '')
        this.#admit(key, 'ALTER TABLE \u0001T ALTER COLUMN \u0001C DROP NOT NULL', there.n);
      if (wanted.has(there.name)) {
        // Its name is taken by another column now; rows from before still find it by its number.
        names.delete(there.n);
        this.#admit(
          key,
          `ALTER TABLE \u0001T RENAME COLUMN \u0001C TO ${quoteIdent(`drover_gone_${there.n}`)}`,
          there.n,
        );
      }
      this.#restrict(key, 'ALTER TABLE \u0001T DROP COLUMN \u0001C', there.n);
    }
    // The same for those that went before and are still here.
    for (const [n, paired] of Object.entries(this.#replica.pairs)) {
      const name = names.get(paired);
      if (name === undefined || !wanted.has(name) || this.#after.columns.some((c) => c.n === Number(n)))
        continue;
      if (gone.some((c) => c.n === Number(n))) continue;
      names.delete(paired);
      const sql = `ALTER TABLE \u0001T RENAME COLUMN \u0001C TO ${quoteIdent(`drover_gone_${paired}`)}`;
      this.#admit(`gone:${this.#change.oid}:${n}`, sql, paired);
    }
    this.#renameColumns(names);
    for (const column of this.#after.columns) {
      const old = this.#before.columns.find((c) => c.n === column.n);
      const there = this.#column(column.n, old?.name ?? column.name) ?? this.#column(column.n, column.name);
      if (old === undefined) {
        if (there === undefined || gone.some((g) => this.#column(g.n, g.name)?.n === there.n))
          this.#add(column);
      } else if (there !== undefined) {
        this.#alter(old, column, there);
      } else if (this.#replica.pairs[String(column.n)] === undefined) {
        throw new Unsupported(`the replica has no column "${old.name}"`);
      }
    }
  }

  #renameColumns(names: Map<number, string>): void {
    const waiting: [number, string, string][] = [];
    for (const column of this.#after.columns) {
      const old = this.#before.columns.find((c) => c.n === column.n);
      if (old === undefined || old.name === column.name) continue;
      const there = this.#column(column.n, old.name);
      if (there === undefined || there.name !== old.name) continue; // renamed here already
      const key = this.#key('col', column.n);
      if ([...names].some(([n, name]) => n !== there.n && name === column.name)) {
        const between = `drover_between_${there.n}`;
        this.#admit(key, `ALTER TABLE \u0001T RENAME COLUMN \u0001C TO ${quoteIdent(between)}`, there.n);
        names.set(there.n, between);
        waiting.push([there.n, column.name, key]);
      } else {
        this.#admit(key, `ALTER TABLE \u0001T RENAME COLUMN \u0001C TO ${quoteIdent(column.name)}`, there.n);
        names.set(there.n, column.name);
      }
    }
    for (const [n, name, key] of waiting)
      this.#admit(key, `ALTER TABLE \u0001T RENAME COLUMN \u0001C TO ${quoteIdent(name)}`, n);
  }

  #add(column: ColumnShape): void {
    const key = this.#key('col', column.n);
    for (const sequence of this.#after.sequences) {
      if (sequence.column === column.n) this.#admit(key, createSequence(sequence));
    }
    const { missing } = this.#change;
    const known = Object.hasOwn(missing, String(column.n));
    const value = missing[String(column.n)];
    const filled = value == null ? null : `${quoteLiteral(value)}::${column.type}`;
    const first = known ? filled : column.default;
    this.#admit(
      key,
      `ALTER TABLE \u0001T ADD COLUMN ${columnDef(column, first, false, this.#replica.major)}`,
    );
    const name = quoteIdent(column.name);
    if (known && first !== column.default && column.default !== null)
      this.#admit(key, `ALTER TABLE \u0001T ALTER COLUMN ${name} SET DEFAULT ${column.default}`);
    if (column.notNull && column.identity === '')
      this.#restrict(
        this.#key('null', column.n),
        'ALTER TABLE \u0001T ALTER COLUMN \u0001C SET NOT NULL',
        null,
        {
          added: column.name,
        },
      );
  }

  #alter(old: ColumnShape, now: ColumnShape, there: ColumnShape): void {
    const { n } = there;
    if (old.type !== now.type || old.collation !== now.collation) this.#retype(now, there);
    if (old.generated !== '' && now.generated === '')
      this.#admit(
        this.#key('gen', now.n),
        'ALTER TABLE \u0001T ALTER COLUMN \u0001C DROP EXPRESSION IF EXISTS',
        n,
      );
    else if (old.expression !== now.expression && there.expression !== now.expression) {
      if (this.#replica.major < 17)
        throw new Unsupported(`SET EXPRESSION of "${now.name}" needs PostgreSQL 17`);
      const sql = `ALTER TABLE \u0001T ALTER COLUMN \u0001C SET EXPRESSION AS (${now.expression})`;
      this.#admit(this.#key('gen', now.n), sql, n);
    }
    const nulls = this.#key('null', now.n);
    if (old.notNull && !now.notNull) {
      this.#touches.add(nulls);
      if (there.notNull) this.#admit(nulls, 'ALTER TABLE \u0001T ALTER COLUMN \u0001C DROP NOT NULL', n);
    } else if (!old.notNull && now.notNull && !there.notNull) {
      this.#restrict(nulls, 'ALTER TABLE \u0001T ALTER COLUMN \u0001C SET NOT NULL', n);
    }
    const ident = this.#key('ident', now.n);
    if (old.identity !== now.identity) {
      this.#touches.add(ident);
      if (now.identity === '')
        this.#admit(ident, 'ALTER TABLE \u0001T ALTER COLUMN \u0001C DROP IDENTITY IF EXISTS', n);
      else if (there.identity === '')
        this.#restrict(ident, `ALTER TABLE \u0001T ALTER COLUMN \u0001C ADD ${identityDef(now)}`, n);
      else {
        const how = now.identity === 'a' ? 'ALWAYS' : 'BY DEFAULT';
        this.#admit(ident, `ALTER TABLE \u0001T ALTER COLUMN \u0001C SET GENERATED ${how}`, n);
      }
    }
    if (old.default !== now.default && there.default !== now.default && now.generated === '') {
      const value = this.#key('default', now.n);
      for (const s of this.#after.sequences) {
        if (!this.#before.sequences.some((b) => b.name === s.name && b.schema === s.schema))
          this.#admit(value, createSequence(s));
      }
      const what = now.default === null ? 'DROP DEFAULT' : `SET DEFAULT ${now.default}`;
      this.#admit(value, `ALTER TABLE \u0001T ALTER COLUMN \u0001C ${what}`, n);
    }
  }

  #retype(now: ColumnShape, there: ColumnShape): void {
    const key = this.#key('type', now.n);
    this.#touches.add(key);
    if (there.type === now.type && there.collation === now.collation) return;
    const collate = now.collation === null ? '' : ` COLLATE ${now.collation}`;
    const sql = `ALTER TABLE \u0001T ALTER COLUMN \u0001C TYPE ${now.type}${collate}`;
    // A narrower type is made when the rows fit it: those that come until then fit the wider one. Any other is made at once: rows that
    // were written before are converted when they come.
    if (there.type !== now.type && widens(there.type, now.type)) this.#admit(key, sql, there.n);
    else if (widens(now.type, there.type))
      this.#restrict(key, sql, there.n, { type: `${now.type}${collate}` });
    else this.#admit(key, sql, there.n);
  }

  #newConstraints(): void {
    const there = new Map(this.#table.constraints.map((c) => [c.name, c]));
    for (const c of [...this.#after.constraints].sort(keysFirst)) {
      const old = this.#before.constraints.find((b) => b.oid === c.oid);
      const key = this.#key('con', c.oid);
      const name = quoteIdent(c.name);
      if (old === undefined) {
        const renamed = this.#before.constraints.some((b) => b.name === c.name);
        const sql = `ALTER TABLE \u0001T ADD CONSTRAINT ${name} ${c.def}`;
        if (!there.has(c.name) || renamed) this.#restrict(key, sql, null, { latest: 'constraint' });
      } else if (old.def !== c.def && old.def === `${c.def} NOT VALID`) {
        this.#restrict(key, `ALTER TABLE \u0001T VALIDATE CONSTRAINT ${name}`, null, { latest: 'validate' });
      }
    }
    const indexes = new Set(this.#table.indexes.map((i) => i.name));
    for (const index of this.#after.indexes) {
      const old = this.#before.indexes.find((i) => i.oid === index.oid);
      const lost = this.#before.indexes.some((i) => i.name === index.name && i.oid !== index.oid);
      if (old === undefined && (!indexes.has(index.name) || lost))
        this.#restrict(this.#key('idx', index.oid), index.def, null, { latest: 'index' });
    }
  }

  #identity(): void {
    const [before, after, table] = [this.#before, this.#after, this.#table];
    if (before.identity === after.identity && before.identityIndex === after.identityIndex) return;
    this.#touches.add(`identity:${this.#change.oid}`);
    if (table.identity === after.identity && table.identityIndex === after.identityIndex) return;
    const sql = replicaIdentity(after, '\u0001T');
    if (sql !== null) this.#restrict(`identity:${this.#change.oid}`, sql);
  }
}
