/**
 * Makes a backend fit for a client: what another tenant may have left is cleaned away, settings are the client's own, the tenant's signed
 * context is set. The messages travel together, so this costs one round trip, and only when the backend last served another tenant, epoch
 * or set of settings.
 *
 * Guarantee (I6): no byte of the client is sent before the server has answered all of them and the context read back is the one that was
 * sent. The context is set last: no setting of the client's comes after it.
 */
import { randomBytes } from 'node:crypto';
import { contextQuery, query } from '../protocol/builders.ts';
import { errorFields, rowValues } from '../protocol/fields.ts';
import type { Backend, BackendOwner } from './backend.ts';

export interface Wanted {
  readonly tenant: string;
  /** `<tenant>|<epoch>`. */
  readonly context: string;
  /** Value of drover.context, signed for this backend. */
  readonly signed: string;
  /** Settings.signature of the client. */
  readonly settings: string;
  /** Keep the session's own state: only the context is set (a pinned backend). */
  readonly keepState: boolean;
}

export type AdoptFailure =
  /** The backend is of no use; another one may be tried: nothing of the client was sent. */
  | { readonly kind: 'backend'; readonly error: Error | undefined }
  /** The server refused the client's settings. */
  | { readonly kind: 'settings'; readonly code: string; readonly message: string };

/** Whether the backend can take the client's bytes as it is. */
export function fits(backend: Backend, context: string, settings: string, keepState: boolean): boolean {
  return !backend.dirty && backend.context === context && (keepState || backend.settings === settings);
}

/** Longest an adoption may take: it touches no table. */
const ADOPT_TIMEOUT_MS = 10_000;

/** Settings back to their defaults, between clients of one tenant. */
const RESET: readonly string[] = ['RESET ALL'];
/**
 * All that SQL can leave in a session, between tenants: also what was done out of the proxy's sight, in a function or under a name
 * it did not recognise. DISCARD ALL less what the proxy needs: prepared statements (their names cannot be guessed) and
 * the sequence value that is the backend's number.
 */
const SCRUB: readonly string[] = [
  ...RESET,
  'CLOSE ALL',
  'UNLISTEN *',
  'DISCARD TEMP',
  'SELECT pg_catalog.pg_advisory_unlock_all()',
];
const NONE: readonly string[] = [];

/** @param done called once, later; with null the backend is fit and has no owner. */
export function adopt(
  backend: Backend,
  wanted: Wanted,
  done: (failure: AdoptFailure | null) => void,
): Adoption {
  return new Adoption(backend, wanted, done);
}

function cleaningOf(backend: Backend, wanted: Wanted): readonly string[] {
  if (wanted.keepState) return NONE;
  if (backend.tenant !== wanted.tenant && backend.tenant !== '') return SCRUB;
  return backend.dirty || backend.settings !== '' ? RESET : NONE;
}

export class Adoption implements BackendOwner {
  readonly #backend: Backend;
  readonly #wanted: Wanted;
  readonly #done: (failure: AdoptFailure | null) => void;
  readonly #timer: NodeJS.Timeout;
  /** Commands that come before the client's settings. */
  readonly #cleaning: number;
  #commands = 0;
  /** ReadyForQuery messages to come. */
  #pending: number;
  #rest: Buffer | null = null;
  #verified = false;
  #error: { readonly inSettings: boolean; readonly code: string; readonly message: string } | null = null;

  constructor(backend: Backend, wanted: Wanted, done: (failure: AdoptFailure | null) => void) {
    this.#backend = backend;
    this.#wanted = wanted;
    this.#done = done;
    const cleaning = cleaningOf(backend, wanted);
    this.#cleaning = cleaning.length;
    const settings = wanted.keepState ? '' : wanted.settings;
    // Between tenants the random numbers to come are made unpredictable, too: setseed() outlives RESET ALL.
    const seed = String(randomBytes(6).readUIntBE(0, 6) / 2 ** 47 - 1);
    const context = contextQuery(backend.contextStatement, wanted.signed, seed);
    const before = cleaning.length > 0 || settings !== '';
    this.#pending = before ? 2 : 1;
    backend.owner = this;
    backend.unnamed = null;
    this.#timer = setTimeout(() => backend.destroy(), ADOPT_TIMEOUT_MS);
    backend.send(before ? Buffer.concat([preparation(cleaning, settings), context]) : context);
  }

  onServerBytes(chunk: Buffer): void {
    const bytes = this.#rest === null ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#rest = null;
    let at = 0;
    while (at + 5 <= bytes.length) {
      const end = at + 1 + bytes.readUInt32BE(at + 1);
      if (end > bytes.length) break;
      this.#take(bytes, at, end);
      at = end;
    }
    if (at < bytes.length) this.#rest = bytes.subarray(at);
    if (this.#pending === 0) this.#finish();
  }

  #take(bytes: Buffer, at: number, end: number): void {
    switch (bytes[at] ?? 0) {
      case 0x5a: // ReadyForQuery
        this.#pending--;
        break;
      case 0x43: // CommandComplete
        this.#commands++;
        break;
      case 0x44: // DataRow
        if (this.#pending === 1) this.#verified = rowValues(bytes, at)[0] === this.#wanted.signed;
        break;
      case 0x53: // ParameterStatus
        this.#backend.noteParameter(bytes, at, end);
        break;
      case 0x45: {
        const { code, message } = errorFields(bytes, at, end);
        const inSettings = this.#pending === 2 && this.#commands >= this.#cleaning;
        this.#error ??= { inSettings, code, message };
        break;
      }
    }
  }

  onServerClosed(error: Error | undefined): void {
    clearTimeout(this.#timer);
    this.#done({ kind: 'backend', error });
  }

  onServerDrain(): void {}

  #finish(): void {
    clearTimeout(this.#timer);
    const backend = this.#backend;
    backend.owner = null;
    if (this.#error === null && this.#verified) {
      backend.dirty = false;
      backend.tenant = this.#wanted.tenant;
      backend.context = this.#wanted.context;
      if (!this.#wanted.keepState) backend.settings = this.#wanted.settings;
      this.#done(null);
      return;
    }
    backend.destroy();
    const { inSettings, code, message } = this.#error ?? {
      inSettings: false,
      code: 'XX000',
      message: 'the server did not take the tenant context',
    };
    if (inSettings) this.#done({ kind: 'settings', code, message });
    else this.#done({ kind: 'backend', error: new Error(`${code}: ${message}`) });
  }
}

/** Clients mostly have the same few settings; the messages for them are made once. */
const PREPARATIONS_MAX = 1000;
const preparations = new Map<string, Buffer>();

function preparation(cleaning: readonly string[], settings: string): Buffer {
  const sql = [...cleaning, ...(settings === '' ? [] : [settings])].join(';');
  let found = preparations.get(sql);
  if (found === undefined) {
    found = query(sql);
    if (preparations.size >= PREPARATIONS_MAX) preparations.clear();
    preparations.set(sql, found);
  }
  return found;
}
