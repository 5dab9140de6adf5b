/**
 * From the bytes of a tenant column to the tenant, without a string per row: first the value of the row before, then a
 * table hashed over the bytes. Bounded: when it holds too many values it starts anew, and refills.
 */
interface Entry<T> {
  readonly kind: string;
  readonly bytes: Buffer;
  readonly value: T;
  readonly next: Entry<T> | undefined;
}

export class TenantCache<T> {
  readonly #max: number;
  #table = new Map<number, Entry<T>>();
  #size = 0;
  #last: Entry<T> | undefined;

  constructor(max = 50_000) {
    this.#max = max;
  }

  get size(): number {
    return this.#size;
  }

  /** `kind` tells apart equal bytes of different types. Undefined: not seen before, or forgotten. */
  find(kind: string, bytes: Buffer, start: number, end: number): T | undefined {
    const last = this.#last;
    if (last !== undefined && last.kind === kind && same(last.bytes, bytes, start, end)) return last.value;
    let entry = this.#table.get(hashBytes(bytes, start, end));
    for (; entry !== undefined; entry = entry.next) {
      if (entry.kind === kind && same(entry.bytes, bytes, start, end)) {
        this.#last = entry;
        return entry.value;
      }
    }
    return undefined;
  }

  /** What {@link find} did not find. */
  keep(kind: string, bytes: Buffer, start: number, end: number, value: T): void {
    if (this.#size >= this.#max) this.clear();
    const hash = hashBytes(bytes, start, end);
    const next = this.#table.get(hash);
    this.#last = { kind, bytes: Buffer.from(bytes.subarray(start, end)), value, next };
    this.#table.set(hash, this.#last);
    this.#size++;
  }

  clear(): void {
    this.#table = new Map();
    this.#size = 0;
    this.#last = undefined;
  }
}

/** Short values, compared in JavaScript: a call into native code costs more. */
function same(known: Buffer, bytes: Buffer, start: number, end: number): boolean {
  const length = end - start;
  if (known.length !== length) return false;
  for (let i = 0; i < length; i++) if (known[i] !== bytes[start + i]) return false;
  return true;
}

/** FNV-1a, as a small integer. */
function hashBytes(bytes: Buffer, start: number, end: number): number {
  let h = 0x811c9dc5;
  for (let i = start; i < end; i++) h = Math.imul(h ^ (bytes[i] as number), 0x01000193); // in bounds
  return h | 0;
}
