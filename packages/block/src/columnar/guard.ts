/**
 * Whether columns are worth it for a table: now and then, and always when it is close, their size is compared with what plain compression makes of
 * the same bytes. Where that wins again and again, columns are not even tried for a while.
 */
import { compress } from '../zstd.ts';

/** Blocks between two comparisons when columns are well ahead. */
const CHECK_BLOCKS = 64;
/** Ahead by less than this share means that the next block is compared as well. */
const CLOSE = 0.9;
/** Smaller blocks differ too much from each other, and comparing them costs next to nothing. */
const SMALL_BYTES = 16_384;
/** Columns cost several times the CPU: a gain of less is none. */
const GAIN_MIN = 0.97;
const LOSSES_MAX = 3;
const REST_BLOCKS_MIN = 16;
const REST_BLOCKS_MAX = 512;

export class Guard {
  /** Compressed bytes per raw byte, when they were last compared. */
  #plainShare = 0;
  #unchecked = CHECK_BLOCKS;
  #losses = 0;
  #resting = 0;
  #rest = REST_BLOCKS_MIN;

  /** To be asked once a block: whether to do without columns. */
  skip(): boolean {
    if (this.#resting === 0) return false;
    this.#resting--;
    return true;
  }

  /** Something is wrong with columns for this table: not again for long. */
  giveUp(): void {
    this.#resting = REST_BLOCKS_MAX;
  }

  /** Whether `storedBytes` is less than plain compression would need, as far as that is not clear without trying. */
  worth(raw: Buffer, storedBytes: number, level: number): boolean {
    const expected = this.#plainShare * raw.length;
    const large = raw.length >= SMALL_BYTES;
    if (large && ++this.#unchecked < CHECK_BLOCKS && storedBytes < CLOSE * expected) return true;
    this.#unchecked = 0;
    const plainBytes = Math.min(raw.length, compress(raw, level).length);
    this.#plainShare = plainBytes / raw.length;
    if (storedBytes < GAIN_MIN * plainBytes) {
      this.#losses = 0;
      this.#rest = REST_BLOCKS_MIN;
      return true;
    }
    if (++this.#losses >= LOSSES_MAX) {
      // One more loss after the rest is enough for the next.
      this.#losses = LOSSES_MAX - 1;
      this.#resting = this.#rest;
      this.#rest = Math.min(2 * this.#rest, REST_BLOCKS_MAX);
    }
    return false;
  }
}
