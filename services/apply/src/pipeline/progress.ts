/** How far a pipeline is: what its parts (the main lane, the tenants' lanes, the reports) know of each other. */
import type { Anchor } from '@drover/bus';
import type { StreamPosition } from '../apply/checkpoint.ts';
import type { Entry } from '../changes/entry.ts';
import { AppliedMarks } from './applied-marks.ts';
import { Freshness } from './freshness.ts';

export class Progress {
  readonly freshness = new Freshness();
  readonly marks = new AppliedMarks();
  /** Sequence up to which the main lane has dealt with the stream, committed. */
  position = 0;
  /** The message there, as far as it is known. */
  anchor: Anchor | undefined;

  /** What is written with the entry when it, and all before it, is dealt with. */
  at(entry: Entry, created: string): StreamPosition {
    const commitTimeMs = this.freshness.heartbeatMs || null;
    return { seq: entry.seq, created, messageMs: entry.timeMs, commitTimeMs };
  }

  /** That is committed. */
  passed(entry: Entry): void {
    this.position = entry.seq;
    this.anchor = { seq: entry.seq, timeMs: entry.timeMs };
  }
}
