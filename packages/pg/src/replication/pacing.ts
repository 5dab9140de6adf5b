/**
 * How long to leave the socket alone between rounds of reads. The walsender sends every message on its own; a reader
 * that takes each at once is woken as often, which doubles the CPU of both sides. Under load, rounds are therefore spaced 1
 * to 30 ms apart so that the kernel collects; at low load nothing is delayed. Pure but for its running average.
 *
 * A Unix-domain socket collects a few hundred messages at most, and then the walsender stands still: its rounds are not spaced.
 *
 * A round ends when its buffer is full, and the next one follows at once: what is left waits in the kernel, and while it does, what the walsender
 * sends is gathered at its end in large segments instead of making its way through the network stack message by message (docs/benchmarks.md).
 */

export interface Round {
  /** When its first read came, and when its last was dealt with; ms of one monotonic clock. */
  readonly startMs: number;
  readonly endMs: number;
  readonly messages: number;
  /** How long the newest commit had waited at the source. */
  readonly lagMs: number;
  /** A read filled its chunk: more was waiting. */
  readonly full: boolean;
  /** The round was ended because its buffer was full. */
  readonly cut: boolean;
}

/** The average forgets with this time constant. */
const MEMORY_MS = 20;
const SPACING_MS_MAX = 30;
/** From so many messages per ms rounds are spaced by so many ms. */
const STEPS = [
  { rate: 12, spacingMs: 1 },
  { rate: 40, spacingMs: 5 },
  { rate: 100, spacingMs: SPACING_MS_MAX },
] as const;
/** A source that is so far behind with so much to send gets on sooner when it is left alone: each send costs it less, and nobody notices the pause. */
const BEHIND_MS = 50;
const BEHIND_RATE = 40;

export class ReadPacer {
  readonly #spacingMaxMs: number;
  #rate = 0;
  #lastStartMs = Number.NEGATIVE_INFINITY;

  /** @param collects the socket takes up what is sent for as long as a pause may be */
  constructor(collects = true) {
    this.#spacingMaxMs = collects ? SPACING_MS_MAX : 0;
  }

  /** Whole ms to wait before reading again, 0 to 30. */
  next(round: Round): number {
    const elapsedMs = Math.max(0.01, round.startMs - this.#lastStartMs);
    this.#lastStartMs = round.startMs;
    const weight = 1 - Math.exp(-elapsedMs / MEMORY_MS);
    this.#rate += (round.messages / elapsedMs - this.#rate) * weight;
    if (round.cut) return 0;
    let spacingMs = round.full ? 1 : 0;
    for (const step of STEPS) if (this.#rate >= step.rate) spacingMs = step.spacingMs;
    if (this.#rate >= BEHIND_RATE && round.lagMs >= BEHIND_MS) spacingMs = SPACING_MS_MAX;
    spacingMs = Math.min(spacingMs, this.#spacingMaxMs);
    // Time spent on the round was already time for the kernel to collect.
    return Math.max(0, Math.ceil(spacingMs - (round.endMs - round.startMs) - 0.5));
  }
}
