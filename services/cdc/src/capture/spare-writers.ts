/**
 * Block writers that are not in use, with the buffers they have grown: catching up, every flush frees as many as there are tenants, and the
 * next transactions want them back. Bounded by bytes. Without it the collector spends a quarter of the reader's CPU on buffers.
 */
import { BlockWriter } from '@drover/block';

/** A buffer that one huge block has grown is let go of. */
const KEEP_BYTES_MAX = 1024 * 1024;

export class SpareWriters {
  readonly #writers: BlockWriter[] = [];
  readonly #bytesMax: number;
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  take(): BlockWriter {
    const writer = this.#writers.pop();
    if (writer === undefined) return new BlockWriter();
    this.#bytes -= writer.capacity;
    return writer;
  }

  give(writer: BlockWriter): void {
    writer.reset(KEEP_BYTES_MAX);
    if (this.#bytes + writer.capacity > this.#bytesMax) return;
    this.#bytes += writer.capacity;
    this.#writers.push(writer);
  }
}
