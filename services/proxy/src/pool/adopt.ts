/**
 * Makes a backend fit for a client: settings back to their defaults, the tenant's signed context, the client's own settings.
 * All replies are checked before a byte of the client is sent: a context that was not set for certain would run one tenant's
 * statement under another's name (I6). The messages travel together, so this costs one round trip, and only when the backend
 * last served another tenant, epoch or set of settings.
 */
import { bindExecuteSync, query } from '../protocol/builders.ts';
import { errorFields } from '../protocol/fields.ts';
import type { Backend, BackendOwner } from './backend.ts';
import { CONTEXT_STATEMENT } from './connect.ts';

export interface Wanted {
  readonly tenant: string;
  /** `<tenant>|<epoch>`. */
  readonly context: string;
  /** Value of drover.context for this backend. */
  readonly signed: (backendNumber: string) => string;
  /** Settings.signature of the client, with what the tenant's isolation asks for in front. */
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
export function fits(backend: Backend, wanted: Wanted): boolean {
  return (
    !backend.dirty &&
    backend.context === wanted.context &&
    (wanted.keepState || backend.settings === wanted.settings)
  );
}

/** Longest an adoption may take: it touches no table. */
const ADOPT_TIMEOUT_MS = 10_000;

/** @param done called once, later; with null the backend is fit and has no owner. */
export function adopt(
  backend: Backend,
  wanted: Wanted,
  done: (failure: AdoptFailure | null) => void,
): Adoption {
  return new Adoption(backend, wanted, done);
}

export class Adoption implements BackendOwner {
  readonly #backend: Backend;
  readonly #wanted: Wanted;
  readonly #done: (failure: AdoptFailure | null) => void;
  readonly #timer: NodeJS.Timeout;
  readonly #settingsAt: number;
  #pending = 0;
  #seen = 0;
  #rest: Buffer | null = null;
  #error: { at: number; code: string; message: string } | null = null;

  constructor(backend: Backend, wanted: Wanted, done: (failure: AdoptFailure | null) => void) {
    this.#backend = backend;
    this.#wanted = wanted;
    this.#done = done;
    const parts: Buffer[] = [];
    if (!wanted.keepState && (backend.dirty || backend.settings !== '' || backend.tenant !== wanted.tenant)) {
      parts.push(query('RESET ALL'));
    }
    parts.push(bindExecuteSync(CONTEXT_STATEMENT, [wanted.signed(backend.number)]));
    this.#settingsAt = parts.length;
    if (!wanted.keepState && wanted.settings !== '') parts.push(query(wanted.settings));
    this.#pending = parts.length;
    backend.owner = this;
    backend.unnamed = null;
    this.#timer = setTimeout(() => backend.destroy(), ADOPT_TIMEOUT_MS);
    backend.send(parts.length === 1 ? (parts[0] ?? Buffer.alloc(0)) : Buffer.concat(parts));
  }

  onServerBytes(chunk: Buffer): void {
    const bytes = this.#rest === null ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#rest = null;
    let at = 0;
    while (at + 5 <= bytes.length) {
      const end = at + 1 + bytes.readUInt32BE(at + 1);
      if (end > bytes.length) break;
      const type = bytes[at];
      if (type === 0x5a) this.#seen++;
      else if (type === 0x53) this.#backend.noteParameter(bytes, at, end);
      else if (type === 0x45) {
        const fields = errorFields(bytes, at, end);
        this.#error ??= { at: this.#seen, code: fields.code, message: fields.message };
      }
      at = end;
    }
    if (at < bytes.length) this.#rest = bytes.subarray(at);
    if (this.#seen >= this.#pending) this.#finish();
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
    if (this.#error === null) {
      backend.dirty = false;
      backend.tenant = this.#wanted.tenant;
      backend.context = this.#wanted.context;
      if (!this.#wanted.keepState) backend.settings = this.#wanted.settings;
      this.#done(null);
      return;
    }
    backend.destroy();
    const { at, code, message } = this.#error;
    if (at >= this.#settingsAt) this.#done({ kind: 'settings', code, message });
    else this.#done({ kind: 'backend', error: new Error(`${code}: ${message}`) });
  }
}
