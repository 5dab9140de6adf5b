/**
 * Whom to learn profiles of, and when: tenants whose small blocks come often are sampled, few at a time, and learnt of one after the other. Learning itself, and
 * time, are the caller's. Memory is bounded, and so is CPU: after having learnt it rests for twenty times as long ({@link Pace}).
 */
import { type KeyedScope, openProfile, type Profile } from '@drover/block';

/** What is learnt from the messages of one tenant; null: nothing can be. Off the reader's thread. */
export interface Learner {
  learn(messages: readonly Buffer[], tenant: string): Promise<{ bytes: Buffer; id: string } | null>;
}

export interface Pace {
  /** Small messages of a tenant before it is sampled: those who write seldom are not worth it. */
  readonly seen: number;
  readonly samples: number;
  /** After learning, rest for so many times as long: it takes this part of one core at most. */
  readonly rest: number;
}

export interface Graduate {
  readonly scope: KeyedScope;
  readonly profile: Profile;
  /** Stored bytes per raw byte of the latest messages it was learnt from. */
  readonly share: number;
}

export interface SchoolOptions {
  readonly learner: Learner;
  readonly nowMs: () => number;
  readonly pace: Pace;
  /** For so many more profiles. */
  readonly hasRoom: (profiles: number) => boolean;
  /** The body by a profile; null: otherwise. */
  readonly encode: (profile: Profile, raw: Buffer) => Buffer | null;
  readonly graduated: (graduate: Graduate) => void;
  readonly failed: (error: unknown) => void;
}

/** A larger profile is none. */
export const PROFILE_BYTES_MAX = 64 * 1024;
const SAMPLE_BYTES_MAX = 256 * 1024;
const PUPILS_MAX = 4;
/** A pupil that has stopped writing makes room. */
const PUPIL_MS_MAX = 60_000;
/** Messages that are tried by a new profile: they must come out at no more than this share of what they took. */
const TRIAL_MESSAGES = 32;
const TRIAL_SHARE_MAX = 0.75;
/** After a trial that failed so many times as many messages must come before the next. */
export const PATIENCE = 16;
const DUE_MAX = 1_000_000;
/** Whoever was seen before these many others is forgotten. */
const KNOWN_MAX = 20_000;

interface Known {
  /** Small messages since the last decision. */
  seen: number;
  /** So many of them start a sample. */
  due: number;
  learning: boolean;
}

interface Sample {
  readonly scope: KeyedScope;
  readonly startedMs: number;
  readonly messages: Buffer[];
  /** What each of them took otherwise, in bytes. */
  readonly stored: number[];
  bytes: number;
}

export class School {
  readonly #options: SchoolOptions;
  /** By token: a tenant is in one partition. */
  readonly #known = new Map<string, Known>();
  readonly #samples = new Map<string, Sample>();
  #learning = false;
  #restUntilMs = 0;

  constructor(options: SchoolOptions) {
    this.#options = options;
  }

  /** A small message of a tenant without a profile was stored otherwise, in so many bytes. */
  saw(scope: KeyedScope, raw: Buffer, storedBytes: number): void {
    const known = this.#of(scope.token);
    known.seen++;
    if (known.learning) return;
    const sample = this.#sampleOf(scope, known);
    if (sample === null) return;
    sample.messages.push(Buffer.from(raw)); // the writer goes on in this memory
    sample.stored.push(storedBytes);
    sample.bytes += raw.length;
    const { samples } = this.#options.pace;
    if (sample.messages.length < samples && sample.bytes < SAMPLE_BYTES_MAX) return;
    if (this.#learning || this.#options.nowMs() < this.#restUntilMs) dropOldest(sample, samples);
    else void this.#learn(sample, known);
  }

  /** Its profile was given up: the next is learnt `patience` times as late. */
  again(token: string, patience: number): void {
    const known = this.#of(token);
    known.seen = 0;
    known.due = Math.min(known.due * patience, DUE_MAX);
  }

  /** Its profile has been of use for long: what was before does not count any more. */
  served(token: string): void {
    this.#of(token).due = this.#options.pace.seen;
  }

  #of(token: string): Known {
    let known = this.#known.get(token);
    if (known !== undefined) return known;
    if (this.#known.size >= KNOWN_MAX)
      for (const [other, { learning }] of this.#known)
        if (!learning && !this.#samples.has(other)) this.#known.delete(other);
    known = { seen: 0, due: this.#options.pace.seen, learning: false };
    this.#known.set(token, known);
    return known;
  }

  #sampleOf({ tenant, token, partition, key }: KeyedScope, known: Known): Sample | null {
    const sample = this.#samples.get(token);
    if (sample?.scope.key === key) return sample;
    this.#samples.delete(token);
    if (known.seen < known.due) return null;
    const nowMs = this.#options.nowMs();
    if (this.#samples.size >= PUPILS_MAX) {
      for (const [other, { startedMs }] of this.#samples)
        if (nowMs - startedMs > PUPIL_MS_MAX) this.#samples.delete(other);
    }
    const pupils = this.#samples.size + (this.#learning ? 1 : 0);
    if (this.#samples.size >= PUPILS_MAX || !this.#options.hasRoom(pupils + 1)) return null;
    const scope = { tenant, token, partition, key }; // what is handed in may hold on to more
    const begun = { scope, startedMs: nowMs, messages: [], stored: [], bytes: 0 };
    this.#samples.set(token, begun);
    return begun;
  }

  async #learn(sample: Sample, known: Known): Promise<void> {
    const { learner, nowMs, pace, graduated, failed } = this.#options;
    const { scope } = sample;
    const startMs = nowMs();
    this.#learning = true;
    this.#samples.delete(scope.token);
    known.learning = true;
    try {
      const learnt = await learner.learn(sample.messages, scope.tenant);
      const profile =
        learnt === null || learnt.bytes.length > PROFILE_BYTES_MAX
          ? null
          : openProfile(learnt.bytes, learnt.id);
      const share = profile === null ? null : this.#trial(sample, profile);
      if (profile === null || share === null) this.again(scope.token, PATIENCE);
      else graduated({ scope, profile, share });
    } catch (error) {
      this.again(scope.token, PATIENCE);
      failed(error);
    } finally {
      known.learning = false;
      known.seen = 0;
      this.#learning = false;
      this.#restUntilMs = nowMs() + (nowMs() - startMs) * pace.rest;
    }
  }

  /** Stored bytes per raw byte of the latest; null: it does not pay. */
  #trial({ messages, stored }: Sample, profile: Profile): number | null {
    let rawBytes = 0;
    let otherwise = 0;
    let by = 0;
    for (let i = Math.max(0, messages.length - TRIAL_MESSAGES); i < messages.length; i++) {
      const raw = messages[i] as Buffer;
      rawBytes += raw.length;
      otherwise += stored[i] as number;
      by += this.#options.encode(profile, raw)?.length ?? raw.length;
    }
    return by <= TRIAL_SHARE_MAX * otherwise ? by / rawBytes : null;
  }
}

/** It has to wait: the latest messages are those to learn from. */
function dropOldest(sample: Sample, samples: number): void {
  while (sample.messages.length >= samples || sample.bytes >= SAMPLE_BYTES_MAX) {
    sample.bytes -= sample.messages.shift()?.length ?? 0;
    sample.stored.shift();
  }
}
