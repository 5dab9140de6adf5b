/**
 * Profiles that blocks need, as the pipelines use them: a profile is fetched from the stream where a message that needs it is received, as keys are
 * (`unseal.ts`), so that decoding need not wait. What needs none costs a look at one byte.
 */
import {
  type KnownProfiles,
  keyOfBlock,
  PROFILES_BYTES_MAX,
  type Profile,
  type ProfileName,
  peekProfile,
  readHeader,
  readProfileBlock,
} from '@drover/block';
import { DroverError, type TenantId } from '@drover/core';
import type { Unsealing } from './unseal.ts';

export interface Profiling {
  /** For decoding. */
  readonly known: KnownProfiles;
  /** Null: nothing has to be waited for. Afterwards the profile is there, or is not to be had. @throws DroverError `bus.unreachable` */
  ready(data: Buffer): Promise<void> | null;
}

/** As many as the reader uses, and those that have just been replaced. */
const CACHE_BYTES_MAX = 1.5 * PROFILES_BYTES_MAX;
/** A profile that was not there is not asked for again so soon: blocks that need it may come by the thousand. */
const AGAIN_MS = 1000;
const MISSING_MAX = 1000;

export interface Fetched {
  readonly profile: Profile;
  /** What its message was sealed with; null: it was not. */
  readonly key: string | null;
}

/** Of one source and database, whatever the partition; least recently used first. */
export class ProfileCache {
  readonly #profiles = new Map<string, Fetched>();
  readonly #bytesMax: number;
  #bytes = 0;

  constructor(bytesMax = CACHE_BYTES_MAX) {
    this.#bytesMax = bytesMax;
  }

  get(name: string): Fetched | null {
    const found = this.#profiles.get(name);
    if (found === undefined) return null;
    this.#profiles.delete(name);
    this.#profiles.set(name, found);
    return found;
  }

  /** One at least is kept, however large. */
  put(name: string, fetched: Fetched): void {
    this.#profiles.set(name, fetched);
    this.#bytes += fetched.profile.bytes.length;
    for (const [oldest, { profile }] of this.#profiles) {
      if (this.#bytes <= this.#bytesMax || oldest === name) return;
      this.#profiles.delete(oldest);
      this.#bytes -= profile.bytes.length;
    }
  }
}

export interface FetchProfiles {
  readonly cache: ProfileCache;
  readonly partition: number;
  /** Blocks of others in the same stream are not decoded here. */
  readonly database: string;
  /** The message there; null: it is gone, or holds no profile. @throws DroverError `bus.unreachable` */
  readonly read: (seq: number) => Promise<Buffer | null>;
  readonly unsealing: Unsealing;
  readonly fetched?: () => void;
  readonly nowMs?: () => number;
}

/** Of one pipeline. */
export class ProfileFetcher implements Profiling, KnownProfiles {
  readonly #options: FetchProfiles;
  readonly #nowMs: () => number;
  readonly #loading = new Map<string, Promise<void>>();
  /** Asked for in vain: when, and why. */
  readonly #missing = new Map<string, { readonly atMs: number; readonly error: DroverError | null }>();

  constructor(options: FetchProfiles) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? (() => performance.now());
  }

  get known(): KnownProfiles {
    return this;
  }

  /** @throws DroverError `block.sealed`, `block.corrupt`: why it could not be read */
  find(_tenant: TenantId, name: ProfileName, key: string | null): Profile | null {
    const place = this.#placeOf(name);
    const found = this.#options.cache.get(place);
    if (found !== null) return found.key === key ? found.profile : null;
    const error = this.#missing.get(place)?.error;
    if (error != null) throw error;
    return null;
  }

  ready(data: Buffer): Promise<void> | null {
    const name = peekProfile(data);
    if (name === null) return null;
    const place = this.#placeOf(name);
    if (this.#options.cache.get(place) !== null) return null;
    const missing = this.#missing.get(place);
    if (missing !== undefined && this.#nowMs() - missing.atMs < AGAIN_MS) return null;
    if (databaseOf(data) !== this.#options.database) return null;
    const loading =
      this.#loading.get(place) ?? this.#load(place, name).finally(() => this.#loading.delete(place));
    this.#loading.set(place, loading);
    return loading;
  }

  async #load(place: string, name: ProfileName): Promise<void> {
    const { cache, read, unsealing, fetched } = this.#options;
    this.#missing.delete(place);
    const block = await read(name.seq);
    let error: DroverError | null = null;
    if (block !== null) {
      await unsealing.ready(block);
      try {
        const profile = readProfileBlock(block, unsealing.opener);
        // A stream that has lost its end holds another message there.
        if (profile.check === name.check) {
          cache.put(place, { profile, key: keyOfBlock(block) });
          fetched?.();
          return;
        }
      } catch (caught) {
        error =
          caught instanceof DroverError
            ? caught
            : new DroverError('block.corrupt', 'a profile could not be read', { cause: caught });
      }
    }
    if (this.#missing.size >= MISSING_MAX) this.#missing.clear();
    this.#missing.set(place, { atMs: this.#nowMs(), error });
  }

  #placeOf({ seq, check }: ProfileName): string {
    return `${this.#options.partition} ${seq} ${check}`;
  }
}

/** Null for a damaged block: nothing is asked for on its word. */
function databaseOf(block: Buffer): string | null {
  try {
    return readHeader(block).database;
  } catch {
    return null;
  }
}
