/**
 * The master keys, under which tenants' keys are kept. Drover stores none: the configuration says where they stand, one line a generation,
 * `<number>:<32 bytes in base64>`. The highest number wraps; the others only unwrap what was wrapped before. A file is read again when a generation is
 * asked for that it did not have, so that a new one reaches running services without a restart.
 */
import { createSecretKey, type KeyObject, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { DroverError, describeError } from '@drover/core';

/** `[security] master_key`. */
export interface MasterReference {
  readonly file?: string;
  /** Name of an environment variable. */
  readonly env?: string;
}

export interface MasterKey {
  readonly generation: number;
  readonly secret: KeyObject;
}

const KEY_BYTES = 32;
const GENERATION_MAX = 0xffff_ffff;
const READ_AGAIN_MS = 1000;

export class MasterKeys {
  readonly #read: () => ReadonlyMap<number, MasterKey>;
  #keys: ReadonlyMap<number, MasterKey>;
  #readAt: number;

  /** @throws DroverError `key.master` */
  constructor(read: () => string) {
    this.#read = () => parseMasterKeys(read());
    this.#keys = this.#read();
    this.#readAt = performance.now();
  }

  /** Null: none is configured. @throws DroverError `key.master` when one is and cannot be read */
  static at(
    reference: Readonly<Record<string, string>> | undefined,
    env: NodeJS.ProcessEnv = process.env,
  ): MasterKeys | null {
    const { file, env: variable, ...rest }: Readonly<Record<string, string>> = reference ?? {};
    const [stranger] = Object.keys(rest);
    if (stranger !== undefined) throw malformed(`there is no "${stranger}" in [security] master_key`);
    if (file !== undefined && variable !== undefined) throw malformed('it names a file and a variable');
    if (file !== undefined) return new MasterKeys(() => readText(file));
    if (variable === undefined) return null;
    return new MasterKeys(() => {
      const text = env[variable];
      if (text === undefined) throw malformed(`the variable ${variable} is not set`);
      return text;
    });
  }

  /** The highest generation: the one that wraps. */
  get newest(): MasterKey {
    const generation = Math.max(...this.#keys.keys());
    const key = this.#keys.get(generation);
    if (key === undefined) throw malformed('there is none'); // parsing refuses this
    return key;
  }

  get generations(): readonly number[] {
    return [...this.#keys.keys()].sort((a, b) => a - b);
  }

  /** Null: it is not there. */
  find(generation: number): MasterKey | null {
    return this.#keys.get(generation) ?? this.#again(generation);
  }

  /** The key of that generation as it stands now, when that is another one: a wrong one was put right. Null: it is the same, or gone. */
  insteadOf({ generation, secret }: MasterKey): MasterKey | null {
    const now = this.#again(generation);
    return now === null || now.secret.equals(secret) ? null : now;
  }

  #again(generation: number): MasterKey | null {
    if (performance.now() - this.#readAt < READ_AGAIN_MS) return null;
    this.#readAt = performance.now();
    try {
      this.#keys = this.#read();
    } catch (error) {
      process.emitWarning(describeError(error)); // those we have stay good
    }
    return this.#keys.get(generation) ?? null;
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw malformed(`${file} cannot be read`, error);
  }
}

/** Lines, or what stands between spaces or commas; what follows # is left out. Messages never show a key. @throws DroverError `key.master` */
export function parseMasterKeys(text: string): ReadonlyMap<number, MasterKey> {
  const found = new Map<number, MasterKey>();
  for (const entry of text.replace(/#.*/g, '').split(/[\s,]+/)) {
    if (entry === '') continue;
    const [, digits, base64] = /^(\d{1,10}):([A-Za-z0-9+/_-]{43}=?)$/.exec(entry) ?? [];
    const generation = Number(digits);
    const bytes = Buffer.from(base64 ?? '', 'base64');
    if (base64 === undefined || generation < 1 || generation > GENERATION_MAX || bytes.length !== KEY_BYTES)
      throw malformed(`entry ${found.size + 1} is not <number>:<32 bytes in base64>`);
    if (found.has(generation)) throw malformed(`generation ${generation} stands there twice`);
    found.set(generation, { generation, secret: createSecretKey(bytes) });
  }
  if (found.size === 0) throw malformed('there is none');
  return found;
}

/** A line for a new generation. */
export function newMasterKey(generation: number): string {
  return `${generation}:${randomBytes(KEY_BYTES).toString('base64')}`;
}

function malformed(why: string, cause?: unknown): DroverError {
  return new DroverError('key.master', `the master key cannot be used: ${why}`, {
    hint: '`drover key generate` makes one; [security] master_key = { file = "…" } or { env = "…" } says where it stands',
    ...(cause === undefined ? {} : { cause }),
  });
}
