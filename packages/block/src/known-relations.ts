/**
 * Relations by the bytes that describe them. A block describes its tables, and most say what the block before said: it is the same object then,
 * so that what was worked out for it can be found by it.
 */
import type { Relation } from './types.ts';

interface Known {
  readonly bytes: Buffer;
  readonly relation: Relation;
}

const RELATIONS_MAX = 5000;

export class KnownRelations {
  readonly #byOid = new Map<number, Known>();

  /** What is described by the bytes at `at`, and how many they are; undefined: not what was described for that table the last time. */
  find(
    oid: number,
    body: Buffer,
    at: number,
  ): { readonly relation: Relation; readonly length: number } | undefined {
    const known = this.#byOid.get(oid);
    if (known === undefined) return undefined;
    const { bytes, relation } = known;
    const end = at + bytes.length;
    // A description tells its own end, so equal bytes are the whole of it.
    if (end > body.length || body.compare(bytes, 0, bytes.length, at, end) !== 0) return undefined;
    return { relation, length: bytes.length };
  }

  keep(body: Buffer, from: number, to: number, relation: Relation): void {
    if (this.#byOid.size >= RELATIONS_MAX) this.#byOid.clear();
    this.#byOid.set(relation.oid, { bytes: Buffer.from(body.subarray(from, to)), relation });
  }
}
