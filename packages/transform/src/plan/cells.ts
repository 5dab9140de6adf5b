/** Where the cells of one tuple stand: found in one walk, in arrays that are made once. Every length is checked. */
import { COLUMN_BINARY, COLUMN_NULL, COLUMN_TEXT, COLUMN_UNCHANGED, tupleWidth } from '@drover/pg';
import { malformed, need } from '@drover/pg/pgoutput/bytes.ts';

export class Cells {
  readonly width: number;
  /** Of the kind byte. */
  readonly at: Int32Array;
  /** Behind the value. */
  readonly ends: Int32Array;
  /** Cells that the source left out because they did not change. */
  unchanged = 0;

  constructor(width: number) {
    this.width = width;
    this.at = new Int32Array(width);
    this.ends = new Int32Array(width);
  }

  /** @throws DroverError `pg.stream` when it is no tuple of this width */
  locate(bytes: Buffer, start: number, end: number): this {
    if (tupleWidth(bytes, start, end) !== this.width)
      throw malformed('a tuple has more or fewer columns than its relation');
    this.unchanged = 0;
    let at = start + 2;
    for (let i = 0; i < this.width; i++) {
      need(at, 1, end);
      const kind = bytes[at];
      this.at[i] = at;
      if (kind === COLUMN_BINARY || kind === COLUMN_TEXT) {
        need(at, 5, end);
        const length = bytes.readUInt32BE(at + 1);
        need(at + 5, length, end);
        at += 5 + length;
      } else {
        if (kind === COLUMN_UNCHANGED) this.unchanged++;
        else if (kind !== COLUMN_NULL) throw malformed(`column of kind ${kind}`);
        at++;
      }
      this.ends[i] = at;
    }
    if (at !== end) throw malformed('a tuple does not end at its end');
    return this;
  }

  /** The same cells; those left out are taken from the old row where `known` says it has them. Both lie in the same bytes. */
  filled(from: Cells, old: Cells, bytes: Buffer, known: (column: number) => boolean): this {
    this.at.set(from.at);
    this.ends.set(from.ends);
    this.unchanged = 0;
    for (let i = 0; i < this.width; i++) {
      if (bytes[from.at[i] ?? 0] !== COLUMN_UNCHANGED) continue;
      if (!known(i) || bytes[old.at[i] ?? 0] === COLUMN_UNCHANGED) {
        this.unchanged++;
        continue;
      }
      this.at[i] = old.at[i] ?? 0;
      this.ends[i] = old.ends[i] ?? 0;
    }
    return this;
  }
}
