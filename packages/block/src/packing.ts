/**
 * How a block's body is stored: as rows compressed by zstd or snappy, as columns, or as it is. Columns take a third to a half fewer bytes than zstd and several times
 * its CPU (docs/benchmarks.md), so `auto` uses them for blocks of some size while there is time, and zstd while catching up. Smaller ones, which neither makes
 * much smaller, it stores by a profile of their tenant's, where there is one.
 */

import type { TenantId } from '@drover/core';
import { encodeColumnar, PlanCache } from './columnar/encode.ts';
import type { StoredBody } from './header.ts';
import type { ProfileName } from './named-profile.ts';
import type { Sealer } from './seal/sealer.ts';
import { compressSnappy, requireSnappy } from './snappy.ts';
import { compress } from './zstd.ts';

export const COMPRESSIONS = ['auto', 'columns', 'zstd', 'snappy', 'none'] as const;
export type Compression = (typeof COMPRESSIONS)[number];

/** Whose blocks are packed alike: those of one tenant in one stream. */
export interface Scope {
  readonly tenant: TenantId;
  readonly token: string;
  readonly partition: number;
}

/** With the key that its blocks are sealed with; null: they are not. What is learnt under one key is never used or published under another. */
export interface KeyedScope extends Scope {
  readonly key: string | null;
}

/** Small bodies by profiles of their scope; who learns and publishes these decides which. */
export interface ScopedProfiles {
  /** Null: not by a profile. */
  encode(scope: KeyedScope, raw: Buffer): { readonly body: Buffer; readonly profile: ProfileName } | null;
  /** It was stored otherwise, in so many bytes. */
  saw(scope: KeyedScope, raw: Buffer, storedBytes: number): void;
}

/** Bodies smaller than this are stored as they are: a call costs more than it saves. */
const COMPRESS_BYTES_MIN = 512;
/** Larger bodies (one row of hundreds of megabytes) are stored as they are: compressing them would hold up the process for too long. */
const COMPRESS_BYTES_MAX = 64 * 1024 * 1024;
const ZSTD_LEVEL = 1;
/** `auto`: what columns save on a few rows is not worth their CPU. */
const AUTO_BYTES_MIN = 8 * 1024;

/** Larger bodies are small enough by zstd, at a tenth of the CPU. */
const PROFILED_BYTES_MAX = 4 * 1024;

/** One for all blocks of a reader, so that plans of columns are made once for a table. */
export class Packer {
  readonly #compression: Compression;
  readonly #plans: PlanCache | null;
  /** Seals what it is told to seal; null: nothing is. */
  readonly sealer: Sealer | null;
  /** With `auto`; null: none. */
  readonly #profiles: ScopedProfiles | null;
  /** Time is short: set by whoever knows. */
  hurried = false;
  /** Bytes given to be packed. */
  rawBytes = 0;

  /** @throws DroverError `config.invalid` when this process cannot compress that way */
  constructor(
    compression: Compression,
    sealer: Sealer | null = null,
    profiles: ScopedProfiles | null = null,
  ) {
    if (compression === 'snappy') requireSnappy();
    this.#compression = compression;
    this.sealer = sealer;
    this.#profiles = compression === 'auto' ? profiles : null;
    this.#plans = compression === 'auto' || compression === 'columns' ? new PlanCache() : null;
  }

  /** Blocks that columns could not hold, by a fault of theirs: they were stored otherwise. */
  get faults(): number {
    return this.#plans?.faults ?? 0;
  }

  get lastFault(): unknown {
    return this.#plans?.lastFault ?? null;
  }

  /** The body is only valid until the next call. */
  pack(raw: Buffer, scope: KeyedScope | null = null): StoredBody {
    this.rawBytes += raw.length;
    if (scope === null || this.#profiles === null || this.hurried || raw.length > PROFILED_BYTES_MAX)
      return this.#generic(raw);
    const found = this.#profiles.encode(scope, raw);
    if (found !== null) return { ...found, encoding: 'profile' };
    const stored = this.#generic(raw);
    this.#profiles.saw(scope, raw, stored.body.length);
    return stored;
  }

  #generic(raw: Buffer): StoredBody {
    const columns = this.#columns(raw);
    if (columns !== null) return { body: columns, encoding: 'columns' };
    if (
      this.#compression !== 'none' &&
      raw.length >= COMPRESS_BYTES_MIN &&
      raw.length <= COMPRESS_BYTES_MAX
    ) {
      const encoding = this.#compression === 'snappy' ? 'snappy' : 'zstd';
      const packed = encoding === 'snappy' ? compressSnappy(raw) : compress(raw, ZSTD_LEVEL);
      if (packed.length < raw.length) return { body: packed, encoding };
    }
    return { body: raw, encoding: 'rows' };
  }

  #columns(raw: Buffer): Buffer | null {
    if (this.#plans === null) return null;
    if (this.#compression === 'auto' && (this.hurried || raw.length < AUTO_BYTES_MIN)) return null;
    return encodeColumnar(raw, this.#plans);
  }
}
