/**
 * Under which name, and with which columns, tables have been under rules. A table or column that was renamed is not what its rule names any more:
 * without this its rows would go out as if there were no rule. Kept at the source (drover.reader), by OID, and written before the slot passes what
 * was learnt.
 */
import type { Relation } from '@drover/block';
import { DroverError } from '@drover/core';
import type { Queryable } from '@drover/pg';

const UNDEFINED_COLUMN = '42703';

export interface RuledBefore {
  readonly schema: string;
  readonly name: string;
  /** Those that some rule has named. */
  readonly columns: readonly string[];
}

export class RuledMemory {
  readonly #known = new Map<number, RuledBefore>();
  #dirty = false;

  /** Something was learnt that is not written yet. */
  get dirty(): boolean {
    return this.#dirty;
  }

  of(oid: number): RuledBefore | undefined {
    return this.#known.get(oid);
  }

  learn({ oid, schema, name }: Pick<Relation, 'oid' | 'schema' | 'name'>, columns: readonly string[]): void {
    const known = this.#known.get(oid);
    const same = known?.schema === schema && known.name === name;
    if (same && known.columns.join('\0') === columns.join('\0')) return;
    this.#known.set(oid, { schema, name, columns: [...columns] });
    this.#dirty = true;
  }

  /** @throws DroverError `pg.not_set_up` */
  async read(client: Queryable): Promise<void> {
    const { rows } = await client
      .query<{ ruled: Record<string, RuledBefore> | null }>('SELECT ruled FROM drover.reader')
      .catch((error: unknown) => {
        if ((error as { code?: unknown }).code !== UNDEFINED_COLUMN) throw error;
        throw new DroverError('pg.not_set_up', 'table drover.reader is of an older version', {
          hint: 'run `drover setup`',
          cause: error,
        });
      });
    for (const [oid, known] of Object.entries(rows[0]?.ruled ?? {}))
      if (!this.#known.has(Number(oid))) this.#known.set(Number(oid), known);
  }

  /** Into the row that the reader writes with each heartbeat; it must be there. */
  async write(client: Queryable): Promise<void> {
    if (!this.#dirty) return;
    this.#dirty = false;
    const text = JSON.stringify(Object.fromEntries(this.#known));
    try {
      await client.query('UPDATE drover.reader SET ruled = $1::jsonb', [text]);
    } catch (error) {
      this.#dirty = true;
      throw error;
    }
  }
}
