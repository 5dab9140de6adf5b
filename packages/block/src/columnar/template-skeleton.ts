/**
 * Text as a skeleton of literal bytes with runs of digits between them. Only ASCII digits count, whatever the encoding of the text is; a run
 * of more than 15 is literal. Skeletons are found by a hash of their literal bytes and then compared, so a clash costs a look, not a mistake.
 */
import { DIGITS_MAX } from './text/digits.ts';

/** Skeletons of one column, runs of one value, literal bytes of one skeleton. */
export const SKELETONS_MAX = 256;
export const RUNS_MAX = 24;
const LITERAL_BYTES_MAX = 1024;

const SLOTS = 1024;
const PRIME = 0x0100_0193;
const SEED = 0x811c_9dc5 | 0;
/** No byte. */
const RUN_MARK = 0x1ff;

export interface Skeleton {
  readonly id: number;
  readonly literal: Buffer;
  /** Where in {@link literal} the text before each run ends; one more for the text behind the last. */
  readonly ends: readonly number[];
  readonly runs: number;
  readonly hash: number;
}

export class SkeletonTable {
  readonly all: Skeleton[] = [];
  /** Of the value matched last: what its runs say and where they stand. */
  readonly values = new Float64Array(RUNS_MAX);
  readonly starts = new Uint32Array(RUNS_MAX);
  readonly ends = new Uint32Array(RUNS_MAX);
  readonly #slots = new Int16Array(SLOTS).fill(-1);

  get full(): boolean {
    return this.all.length >= SKELETONS_MAX;
  }

  /** The skeleton of a value, learnt when it is new. Null beyond a cap. */
  match(bytes: Buffer, start: number, end: number): Skeleton | null {
    let hash = SEED;
    let runs = 0;
    let at = start;
    while (at < end) {
      const byte = bytes[at] as number;
      let digit = byte - 0x30;
      if (digit < 0 || digit > 9) {
        hash = Math.imul(hash ^ byte, PRIME);
        at++;
        continue;
      }
      const first = at;
      let value = 0;
      do {
        value = value * 10 + digit;
        if (++at >= end) break;
        digit = (bytes[at] as number) - 0x30;
      } while (digit >= 0 && digit <= 9);
      if (at - first > DIGITS_MAX) {
        for (let i = first; i < at; i++) hash = Math.imul(hash ^ (bytes[i] as number), PRIME);
      } else {
        if (runs === RUNS_MAX) return null;
        hash = Math.imul(hash ^ RUN_MARK, PRIME);
        this.values[runs] = value;
        this.starts[runs] = first;
        this.ends[runs++] = at;
      }
    }
    let slot = (hash ^ (hash >>> 15)) & (SLOTS - 1);
    for (;;) {
      const id = this.#slots[slot] as number;
      if (id < 0) return this.#learn(slot, hash, bytes, start, end, runs);
      const skeleton = this.all[id] as Skeleton;
      if (skeleton.hash === hash && this.#same(skeleton, bytes, start, end, runs)) return skeleton;
      slot = (slot + 1) & (SLOTS - 1);
    }
  }

  #same(skeleton: Skeleton, bytes: Buffer, start: number, end: number, runs: number): boolean {
    const { literal, ends } = skeleton;
    if (skeleton.runs !== runs) return false;
    let at = start;
    let from = 0;
    for (let run = 0; run <= runs; run++) {
      const to = ends[run] as number;
      const stop = run < runs ? (this.starts[run] as number) : end;
      if (stop - at !== to - from) return false;
      while (from < to) if (bytes[at++] !== literal[from++]) return false;
      at = this.ends[run] as number;
    }
    return true;
  }

  #learn(
    slot: number,
    hash: number,
    bytes: Buffer,
    start: number,
    end: number,
    runs: number,
  ): Skeleton | null {
    if (this.full) return null;
    const parts: Buffer[] = [];
    const ends: number[] = [];
    let at = start;
    let size = 0;
    for (let run = 0; run <= runs; run++) {
      const stop = run < runs ? (this.starts[run] as number) : end;
      parts.push(bytes.subarray(at, stop));
      size += stop - at;
      ends.push(size);
      at = this.ends[run] as number;
    }
    if (size > LITERAL_BYTES_MAX) return null;
    const skeleton = { id: this.all.length, literal: Buffer.concat(parts), ends, runs, hash };
    this.#slots[slot] = skeleton.id;
    this.all.push(skeleton);
    return skeleton;
  }
}
