/**
 * Profiles of the tenants that small blocks are published for: which are in use, when one is published (again), when it is given up. Whom to learn of is
 * `school.ts`. A block names a profile by the sequence of its message, so a profile is used once it is handed to the publisher.
 *
 * The profiles in use together take {@link PROFILES_BYTES_MAX}, and encoding by them a bounded share of one core.
 */
import {
  canBeNamed,
  decodeWithProfile,
  encodeWithProfile,
  type KeyedScope,
  PROFILES_BYTES_MAX,
  type Profile,
  type ProfileName,
  type ScopedProfiles,
} from '@drover/block';
import { type Graduate, type Learner, PATIENCE, type Pace, PROFILE_BYTES_MAX, School } from './school.ts';

/** A profile that is to be published. */
export interface Lesson {
  readonly scope: KeyedScope;
  readonly profile: Profile;
  /** Called with the sequence its message will have. */
  readonly onSeq: (seq: number) => void;
}

export interface ProfilesOptions {
  readonly learner: Learner;
  readonly nowMs: () => number;
  /** After so long a message leaves the streams; 0: never. */
  readonly maxAgeMs: number;
  /** Nothing stands in the way of what is published to this partition. */
  readonly flows: (partition: number) => boolean;
  /** Of all profiles in use; default {@link PROFILES_BYTES_MAX}. */
  readonly bytesMax?: number;
  /** Tests learn sooner. */
  readonly pace?: Pace;
}

const PACE: Pace = { seen: 128, samples: 256, rest: 20 };
/** A profile is published again when it has stood for this share of the time that messages are kept, and not named when it has stood for that. */
const RENEW_SHARE = 1 / 8;
const NAME_SHARE = 1 / 4;
/** A profile that is not published by then (its tenant's key cannot be had, the server takes no message of its size) is given up. */
const UNSENT_MS_MAX = 60_000;
/** Who has not been seen for so long makes room. */
const IDLE_MS = 600_000;
/** While there is no room it is not looked for at each message. */
const FULL_MS = 1000;
/** Bodies by profiles, raw bytes in a second: about a tenth of one core. */
const BYTES_PER_S = 1024 * 1024;
/** Stored bytes per raw byte, averaged over about so many messages; that much worse than at first it is learnt anew, so many times as late. */
const AVERAGE_MESSAGES = 64;
const WORSE_FACTOR = 1.5;
const WORSE_SHARE = 0.02;
const RELEARN = 4;
/** After so many messages a profile has been of use. */
const SERVED_MESSAGES = 2000;

interface Active {
  readonly scope: KeyedScope;
  readonly profile: Profile;
  /** Null until it is handed to the publisher. */
  name: ProfileName | null;
  publishedMs: number;
  usedMs: number;
  messages: number;
  /** Running average, and what the trial made of what was learnt from. */
  share: number;
  readonly firstShare: number;
  /** It is to be published, for the first time or again. */
  queued: boolean;
}

export class Profiles implements ScopedProfiles {
  readonly #options: ProfilesOptions;
  readonly #school: School;
  /** By token: a tenant is in one partition. */
  readonly #active = new Map<string, Active>();
  #activeBytes = 0;
  #lessons: Active[] = [];
  #fullUntilMs = 0;
  #budget = BYTES_PER_S;
  #budgetMs = 0;
  /** Blocks stored by a profile, profiles learnt, and what a fault has ended. */
  readonly counts = { blocks: 0, learnt: 0, faults: 0 };
  lastFault: unknown = null;

  constructor(options: ProfilesOptions) {
    this.#options = options;
    const { learner, nowMs, pace = PACE } = options;
    this.#school = new School({
      learner,
      nowMs,
      pace,
      hasRoom: (profiles) => this.#hasRoom(profiles),
      encode: (profile, raw) => this.#checked(profile, raw),
      graduated: (graduate) => this.#take(graduate),
      failed: (error) => this.#fault(error),
    });
  }

  /** In use. */
  get active(): number {
    return this.#active.size;
  }

  encode(scope: KeyedScope, raw: Buffer): { body: Buffer; profile: ProfileName } | null {
    const active = this.#active.get(scope.token);
    if (active === undefined) return null;
    const nowMs = this.#options.nowMs();
    // What was learnt under one key is neither used nor published under another.
    if (active.scope.key !== scope.key) return this.#drop(active, 1);
    if (active.name === null) {
      if (!active.queued && nowMs - active.publishedMs > UNSENT_MS_MAX) this.#drop(active, RELEARN);
      return null;
    }
    active.usedMs = nowMs;
    this.#renew(active, nowMs);
    const { maxAgeMs, flows } = this.#options;
    const old = maxAgeMs > 0 && nowMs - active.publishedMs > maxAgeMs * NAME_SHARE;
    // What waits for long may outlive its profile.
    if (old || !flows(scope.partition) || !this.#affords(raw.length, nowMs)) return null;
    const { faults } = this.counts;
    const body = this.#checked(active.profile, raw);
    if (this.counts.faults > faults) return this.#drop(active, PATIENCE);
    this.#weigh(active, body === null ? 1 : body.length / raw.length);
    if (body === null) return null;
    this.counts.blocks++;
    return { body, profile: active.name };
  }

  saw(scope: KeyedScope, raw: Buffer, storedBytes: number): void {
    if (!this.#active.has(scope.token)) this.#school.saw(scope, raw, storedBytes);
  }

  /** Profiles to be published to the partition, before all that is finished from now on. */
  lessons(partition: number): Lesson[] {
    if (this.#lessons.length === 0) return [];
    const due = this.#lessons.filter(({ scope }) => scope.partition === partition);
    if (due.length === 0) return [];
    this.#lessons = this.#lessons.filter(({ scope }) => scope.partition !== partition);
    return due.map((active) => {
      active.queued = false;
      const onSeq = (seq: number): void => {
        if (!canBeNamed(seq)) return;
        active.name = { seq, check: active.profile.check };
        active.publishedMs = this.#options.nowMs();
      };
      return { scope: active.scope, profile: active.profile, onSeq };
    });
  }

  #take({ scope, profile, share }: Graduate): void {
    this.counts.learnt++;
    const nowMs = this.#options.nowMs();
    const active: Active = {
      scope,
      profile,
      name: null,
      publishedMs: nowMs,
      usedMs: nowMs,
      messages: 0,
      share: 0,
      firstShare: share,
      queued: true,
    };
    this.#active.set(scope.token, active);
    this.#activeBytes += profile.bytes.length;
    this.#lessons.push(active);
  }

  #drop(active: Active, patience: number): null {
    const { token } = active.scope;
    this.#active.delete(token);
    this.#activeBytes -= active.profile.bytes.length;
    this.#lessons = this.#lessons.filter((lesson) => lesson !== active);
    this.#school.again(token, patience);
    return null;
  }

  /** Null: encoded otherwise. What comes back changed is a fault. */
  #checked(profile: Profile, raw: Buffer): Buffer | null {
    try {
      const body = encodeWithProfile(raw, profile);
      if (body === null || decodeWithProfile(body, profile, raw.length).equals(raw)) return body;
      this.#fault(new Error('a body came back changed'));
    } catch (error) {
      this.#fault(error);
    }
    return null;
  }

  #fault(error: unknown): void {
    this.counts.faults++;
    this.lastFault = error;
  }

  #renew(active: Active, nowMs: number): void {
    const { maxAgeMs } = this.#options;
    if (active.queued || maxAgeMs === 0 || nowMs - active.publishedMs < maxAgeMs * RENEW_SHARE) return;
    active.queued = true;
    this.#lessons.push(active);
  }

  #weigh(active: Active, share: number): void {
    active.messages++;
    active.share += (share - active.share) / Math.min(active.messages, AVERAGE_MESSAGES);
    if (active.messages === SERVED_MESSAGES) this.#school.served(active.scope.token);
    if (active.messages >= AVERAGE_MESSAGES && active.share > WORSE_FACTOR * active.firstShare + WORSE_SHARE)
      this.#drop(active, RELEARN);
  }

  #affords(bytes: number, nowMs: number): boolean {
    const more = ((nowMs - this.#budgetMs) * BYTES_PER_S) / 1000;
    this.#budget = Math.min(BYTES_PER_S, this.#budget + more);
    this.#budgetMs = nowMs;
    if (this.#budget < bytes) return false;
    this.#budget -= bytes;
    return true;
  }

  /** Whoever has been idle for long leaves. */
  #hasRoom(profiles: number): boolean {
    const { bytesMax = PROFILES_BYTES_MAX } = this.#options;
    const fits = (): boolean => this.#activeBytes + profiles * PROFILE_BYTES_MAX <= bytesMax;
    const nowMs = this.#options.nowMs();
    if (fits()) return true;
    if (nowMs < this.#fullUntilMs) return false;
    for (const active of this.#active.values()) if (nowMs - active.usedMs > IDLE_MS) this.#drop(active, 1);
    this.#fullUntilMs = nowMs + FULL_MS;
    return fits();
  }
}
