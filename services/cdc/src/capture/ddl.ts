/**
 * A schema change among the rows (docs/adr/0008-ddl.md). In every lane it stands twice: `drover.ddl` before all rows of its own
 * transaction, behind all rows of those before it; `drover.ddl.end` behind all rows of its own transaction, before all later ones. Rows
 * of its own transaction that were written behind it are preceded, in their block, by `drover.ddl.mark`: the place of the last change
 * before them. Pure.
 */
import { formatLsn, type Lsn } from '@drover/core';
import { DDL_MARK_PREFIX } from '@drover/pg';
import type { OpenTenant, TransactionAt } from './lane.ts';
import type { TypeFacts } from './tenant-value.ts';

export interface DdlMessage {
  readonly kind: 'ddl';
  readonly tag: string;
  /** `schema.table`, of tables that are captured. */
  readonly tables: readonly string[];
  /** Types as they are from here on: a tenant column may be of one. */
  readonly types: readonly { readonly oid: number; readonly facts: TypeFacts | null }[];
}

/** @throws when it is not in form */
export function parseDdl(body: object): DdlMessage {
  const list = (name: string): object[] => {
    const value: unknown = Reflect.get(body, name);
    return Array.isArray(value) ? value.filter((v) => typeof v === 'object' && v !== null) : [];
  };
  const sub = (of: object, name: string): object | null => {
    const value: unknown = Reflect.get(of, name);
    return typeof value === 'object' ? value : null;
  };
  return {
    kind: 'ddl',
    tag: String(Reflect.get(body, 'tag')),
    tables: list('tables').flatMap((table) => {
      const shape = sub(table, 'after') ?? sub(table, 'before');
      return shape === null ? [] : [`${Reflect.get(shape, 'schema')}.${Reflect.get(shape, 'name')}`];
    }),
    types: list('types').flatMap((type): DdlMessage['types'] => {
      const after = sub(type, 'after');
      const oid = Number(Reflect.get(type, 'oid'));
      if (after === null) return [];
      const kind: unknown = Reflect.get(after, 'kind');
      if (kind === 'e') return [{ oid, facts: { baseOid: oid, sentAsText: true } }];
      if (kind === 'd')
        return [{ oid, facts: { baseOid: Number(Reflect.get(after, 'baseOid')), sentAsText: false } }];
      return [{ oid, facts: null }];
    }),
  };
}

/** A domain over a domain stands on what that stands on. */
export function learnTypes(types: Map<number, TypeFacts>, message: DdlMessage): void {
  for (const { oid, facts } of message.types) {
    if (facts === null) types.delete(oid);
    else types.set(oid, types.get(facts.baseOid) ?? facts);
  }
}

/** Writes the change in front of what follows in the lane. `open`: the lane's own token, entered into the transaction. */
export function writeDdl(
  open: OpenTenant,
  at: TransactionAt,
  lsn: Lsn,
  prefix: string,
  content: Buffer,
): void {
  const writer = open.lane.writerOf(open, at);
  const before = writer.size;
  writer.message(lsn, prefix, content);
  open.lane.grew(writer.size - before, writer.size);
  open.lane.urgent = true;
}

/** Rows of the transaction follow that were written behind the change told at `told`. */
export function writeMark(open: OpenTenant, at: TransactionAt, told: Lsn): void {
  const writer = open.lane.writerOf(open, at);
  const before = writer.size;
  writer.message(at.commitLsn, DDL_MARK_PREFIX, Buffer.from(JSON.stringify({ told: formatLsn(told) })));
  open.lane.grew(writer.size - before, writer.size);
}
