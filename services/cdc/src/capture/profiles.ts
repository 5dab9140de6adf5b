/**
 * Profiles of the tenants that small blocks are published for: whom to learn of and when, which are in use, and when to publish one again. Learning
 * itself, and time, are the caller's. A block names a profile by the sequence of its message, so a profile is used once it is handed to the publisher.
 *
 * Memory is bounded: few tenants are sampled at a time, and the profiles in use together take {@link PROFILES_BYTES_MAX}. So is CPU: after having
 * learnt it rests for twenty times as long ({@link Pace}).
 */
import {
  canBeNamed,
  checkOf,
  decodeWithProfile,
  encodeWithProfile,
  openProfile,
  PROFILES_BYTES_MAX,
  type Profile,
  type ProfileName,
  type Scope,
  type ScopedProfiles,
} from '@drover/block';

/** What is learnt from the messages of one tenant; null: nothing can be. Off the reader's thread. */
export interface Learner {
  learn(messages: readonly Buffer[], tenant: string): Promise<{ bytes: Buffer; id: string } | null>;
}

/** A profile that is to be published. */
export interface Lesson {
  readonly scope: Scope;
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

export interface Pace {
  /** Small messages of a tenant before it is sampled: those who write seldom are not worth it. */
  readonly seen: number;
  readonly samples: number;
  /** After learning, rest for so many times as long: it takes this part of one core at most. */
  readonly rest: number;
}

const PACE: Pace = { seen: 128, samples: 256, rest: 20 };
const SAMPLE_BYTES_MAX = 256 * 1024;
const PUPILS_MAX = 4;
/** A pupil that has stopped writing makes room. */
const PUPIL_MS_MAX = 60_000;
/** A profile that is not published by then (its tenant's key cannot be had, the server takes no message of its size) is given up. */
const UNSENT_MS_MAX = 60_000;
const PROFILE_BYTES_MAX = 64 * 1024;
/** Messages that are tried by a new profile: they must come out at no more than this share of what they took. */
const TRIAL_MESSAGES = 32;
const TRIAL_SHARE_MAX = 0.75;
/** After a trial that failed so many times as many messages must come before the next; after one that has become worse. */
const PATIENCE_FACTOR = 16;
const RELEARN_FACTOR = 4;
/** Who has not been seen for so long makes room. */
const IDLE_MS = 600_000;
/** A profile is published again when it has stood for this share of the time that messages are kept, so that blocks never outlive it by more. */
const RENEW_SHARE = 1 / 8;
/** Stored bytes per raw byte, averaged over about so many messages; that much worse than at first it is learnt anew. */
const AVERAGE_MESSAGES = 64;
const WORSE_FACTOR = 1.5;
const WORSE_SHARE = 0.02;

interface Tenant {
  /** Small messages since the last decision. */
  seen: number;
  /** So many of them start a sample. */
  due: number;
  active: Active | null;
}

interface Active {
  readonly scope: Scope;
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

interface Sample {
  readonly scope: Scope;
  readonly messages: Buffer[];
  readonly startedMs: number;
  bytes: number;
  /** What each of the latest took otherwise, in bytes. */
  readonly stored: number[];
}

export class Profiles implements ScopedProfiles {
  readonly #options: ProfilesOptions;
  readonly #pace: Pace;
  /** By token: a tenant is in one partition. */
  readonly #tenants = new Map<string, Tenant>();
  readonly #samples = new Map<string, Sample>();
  #active = 0;
  #activeBytes = 0;
  #learning = false;
  #restUntilMs = 0;
  #lessons: Active[] = [];
  /** Blocks stored by a profile, profiles learnt, and those that a fault of theirs has ended. */
  readonly counts = { blocks: 0, learnt: 0, faults: 0 };
  lastFault: unknown = null;

  constructor(options: ProfilesOptions) {
    this.#options = options;
    this.#pace = options.pace ?? PACE;
  }

  /** In use. */
  get active(): number {
    return this.#active;
  }

  encode(scope: Scope, raw: Buffer): { body: Buffer; profile: ProfileName } | null {
    const tenant = this.#tenants.get(scope.token);
    const active = tenant?.active;
    if (tenant === undefined || active == null || active.name === null) return null;
    const nowMs = this.#options.nowMs();
    active.usedMs = nowMs;
    this.#renew(active, nowMs);
    // What waits for long may outlive its profile.
    if (!this.#options.flows(scope.partition)) return null;
    const { faults } = this.counts;
    const body = this.#checked(active.profile, raw);
    if (this.counts.faults > faults) this.#drop(tenant, active, PATIENCE_FACTOR);
    else this.#weigh(tenant, active, body === null ? 1 : body.length / raw.length);
    if (body === null) return null;
    this.counts.blocks++;
    return { body, profile: active.name };
  }

  saw(scope: Scope, raw: Buffer, storedBytes: number): void {
    let tenant = this.#tenants.get(scope.token);
    if (tenant === undefined) {
      tenant = { seen: 0, due: this.#pace.seen, active: null };
      this.#tenants.set(scope.token, tenant);
    }
    tenant.seen++;
    const nowMs = this.#options.nowMs();
    const { active } = tenant;
    if (active?.name === null && !active.queued && nowMs - active.publishedMs > UNSENT_MS_MAX)
      this.#drop(tenant, active, PATIENCE_FACTOR);
    const sample = this.#samples.get(scope.token) ?? this.#begin(scope, tenant, nowMs);
    if (sample === null) return;
    // The writer goes on in this memory.
    sample.messages.push(Buffer.from(raw));
    sample.stored.push(storedBytes);
    sample.bytes += raw.length;
    if (sample.messages.length >= this.#pace.samples || sample.bytes >= SAMPLE_BYTES_MAX)
      this.#learn(sample, tenant);
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
        active.name = { seq, check: checkOf(active.profile) };
        active.publishedMs = this.#options.nowMs();
      };
      return { scope: active.scope, profile: active.profile, onSeq };
    });
  }

  /** Null: encoded otherwise. What comes back changed is a fault of the profile's, and ends it. */
  #checked(profile: Profile, raw: Buffer): Buffer | null {
    try {
      const body = encodeWithProfile(raw, profile);
      if (body === null || decodeWithProfile(body, profile, raw.length).equals(raw)) return body;
      this.lastFault = new Error('a body came back changed');
    } catch (error) {
      this.lastFault = error;
    }
    this.counts.faults++;
    return null;
  }

  #renew(active: Active, nowMs: number): void {
    const { maxAgeMs } = this.#options;
    if (active.queued || maxAgeMs === 0 || nowMs - active.publishedMs < maxAgeMs * RENEW_SHARE) return;
    active.queued = true;
    this.#lessons.push(active);
  }

  #weigh(tenant: Tenant, active: Active, share: number): void {
    active.messages++;
    active.share += (share - active.share) / Math.min(active.messages, AVERAGE_MESSAGES);
    if (active.messages < AVERAGE_MESSAGES) return;
    if (active.share > WORSE_FACTOR * active.firstShare + WORSE_SHARE)
      this.#drop(tenant, active, RELEARN_FACTOR);
  }

  #drop(tenant: Tenant, active: Active, patience: number): void {
    this.#active--;
    this.#activeBytes -= active.profile.bytes.length;
    this.#lessons = this.#lessons.filter((lesson) => lesson !== active);
    tenant.active = null;
    tenant.seen = 0;
    tenant.due *= patience;
  }

  #begin({ tenant: name, token, partition }: Scope, tenant: Tenant, nowMs: number): Sample | null {
    if (tenant.seen < tenant.due || tenant.active !== null) return null;
    if (this.#samples.size >= PUPILS_MAX) {
      for (const [other, { startedMs }] of this.#samples)
        if (nowMs - startedMs > PUPIL_MS_MAX) this.#samples.delete(other);
      if (this.#samples.size >= PUPILS_MAX) return null;
    }
    if (!this.#hasRoom(nowMs)) return null;
    const scope = { tenant: name, token, partition }; // what is handed in may hold on to more
    const sample = { scope, messages: [], startedMs: nowMs, bytes: 0, stored: [] };
    this.#samples.set(token, sample);
    return sample;
  }

  /** For one more; whoever has been idle for long leaves. */
  #hasRoom(nowMs: number): boolean {
    const { bytesMax = PROFILES_BYTES_MAX } = this.#options;
    const fits = (): boolean => this.#activeBytes + PROFILE_BYTES_MAX <= bytesMax;
    if (fits()) return true;
    for (const tenant of this.#tenants.values()) {
      const { active } = tenant;
      if (active !== null && nowMs - active.usedMs > IDLE_MS) this.#drop(tenant, active, 1);
    }
    return fits();
  }

  /** Of the samples that wait the first that asks is the next. */
  #learn(sample: Sample, tenant: Tenant): void {
    const startMs = this.#options.nowMs();
    if (this.#learning || startMs < this.#restUntilMs) {
      // The latest messages are those to learn from.
      const first = sample.messages.shift();
      sample.stored.shift();
      sample.bytes -= first?.length ?? 0;
      return;
    }
    this.#learning = true;
    this.#samples.delete(sample.scope.token);
    tenant.seen = 0;
    void this.#options.learner
      .learn(sample.messages, sample.scope.tenant)
      .then((learnt) =>
        this.#take(sample, tenant, learnt === null ? null : openProfile(learnt.bytes, learnt.id)),
      )
      .catch((error: unknown) => {
        this.counts.faults++;
        this.lastFault = error;
        tenant.due *= PATIENCE_FACTOR;
      })
      .finally(() => {
        this.#learning = false;
        const nowMs = this.#options.nowMs();
        this.#restUntilMs = nowMs + (nowMs - startMs) * this.#pace.rest;
      });
  }

  #take(sample: Sample, tenant: Tenant, profile: Profile | null): void {
    const fits = profile !== null && profile.bytes.length <= PROFILE_BYTES_MAX;
    const firstShare = fits ? this.#trial(sample, profile) : null;
    if (profile === null || firstShare === null) {
      tenant.due *= PATIENCE_FACTOR;
      return;
    }
    this.counts.learnt++;
    const nowMs = this.#options.nowMs();
    const active: Active = {
      scope: sample.scope,
      profile,
      name: null,
      publishedMs: nowMs,
      usedMs: nowMs,
      messages: 0,
      share: 0,
      firstShare,
      queued: true,
    };
    tenant.active = active;
    this.#active++;
    this.#activeBytes += profile.bytes.length;
    this.#lessons.push(active);
  }

  /** Stored bytes per raw byte of the latest; null: it does not pay. */
  #trial({ messages, stored }: Sample, profile: Profile): number | null {
    const count = Math.min(TRIAL_MESSAGES, messages.length);
    let rawBytes = 0;
    let otherwise = 0;
    let by = 0;
    for (let i = messages.length - count; i < messages.length; i++) {
      const raw = messages[i] as Buffer;
      rawBytes += raw.length;
      otherwise += stored[i] as number;
      by += this.#checked(profile, raw)?.length ?? raw.length;
    }
    return by <= TRIAL_SHARE_MAX * otherwise ? by / rawBytes : null;
  }
}
