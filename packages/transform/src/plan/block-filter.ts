/**
 * Stands between a block and who reads it (`walkBlock(block, transformed(inner, transforms))`): relations, tuples and decisions come out as the
 * rules make them. All tuples, untouched ones too, are written into one buffer, so that "the same bytes in every call" (BlockVisitor) holds: a grown
 * buffer begins with what the one before held.
 */
import type { BlockVisitor, Relation } from '@drover/block';
import { assert } from '@drover/core';
import { type Change, Changer } from './change.ts';
import type { TableTransforms } from './transforms.ts';
import { TupleOut } from './tuple-out.ts';
import type { TuplePlan } from './tuple-plan.ts';

/** `bytes`: how much is expected; the block's raw size fits. */
export function transformed(
  inner: BlockVisitor,
  transforms: TableTransforms,
  bytes = 64 * 1024,
): BlockVisitor {
  const out = new TupleOut(bytes);
  const changer = new Changer(out);
  const plans: (TuplePlan | null)[] = [];
  const planOf = (relation: number): TuplePlan | null => {
    const plan = plans[relation];
    assert(plan !== undefined, 'a change of a relation that was not defined');
    return plan;
  };
  const kept = (from: Buffer, start: number, end: number): number => {
    const at = out.at;
    out.copy(from, start, end);
    return at;
  };
  const pass = (relation: number, c: Change): void => {
    if (c.kind === 'insert') inner.insert(relation, c.bytes, c.newStart, c.newEnd);
    else if (c.kind === 'update')
      inner.update(relation, c.oldKind, c.bytes, c.oldStart, c.oldEnd, c.newStart, c.newEnd);
    else if (c.kind === 'delete' && c.oldKind !== null)
      inner.delete(relation, c.oldKind, c.bytes, c.oldStart, c.oldEnd);
  };
  return {
    relation: (index, relation: Relation) => {
      const plan = transforms.planFor(relation);
      plans[index] = plan;
      inner.relation(index, plan?.relation ?? relation);
    },
    begin: (lsn, timeUs, xid) => inner.begin(lsn, timeUs, xid),
    insert: (relation, from, start, end) => {
      const plan = planOf(relation);
      if (plan !== null) pass(relation, changer.insert(plan, from, start, end));
      else {
        const at = kept(from, start, end);
        inner.insert(relation, out.bytes, at, out.at);
      }
    },
    update: (relation, oldKind, from, oldStart, oldEnd, newStart, newEnd) => {
      const plan = planOf(relation);
      if (plan !== null) {
        pass(relation, changer.update(plan, oldKind, from, oldStart, oldEnd, newStart, newEnd));
        return;
      }
      const old = kept(from, oldStart, oldEnd);
      const at = kept(from, newStart, newEnd);
      if (oldKind === null) inner.update(relation, null, out.bytes, 0, 0, at, out.at);
      else inner.update(relation, oldKind, out.bytes, old, at, at, out.at);
    },
    delete: (relation, oldKind, from, start, end) => {
      const plan = planOf(relation);
      if (plan !== null) pass(relation, changer.delete(plan, oldKind, from, start, end));
      else {
        const at = kept(from, start, end);
        inner.delete(relation, oldKind, out.bytes, at, out.at);
      }
    },
    truncate: (relations, flags) => inner.truncate(relations, flags),
    message: (lsn, prefix, content) => inner.message(lsn, prefix, content),
  };
}
