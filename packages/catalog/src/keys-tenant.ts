/** What a key ring knows of one tenant: its head and its wrapped keys, in whatever order they come. No I/O. */
import type { KeyHead, StoredKey } from './keys-record.ts';

export class TenantKeyring {
  #head: KeyHead | 'lost' | null = null;
  readonly #stored = new Map<number, StoredKey>();

  /** Null: the head was deleted, which Drover never does. From then on nobody knows whether the tenant is sealed. */
  takeHead(head: KeyHead | null): void {
    this.#head = head ?? 'lost';
    for (const id of this.#stored.keys()) if (this.isShredded(id)) this.#stored.delete(id);
  }

  takeKey(id: number, stored: StoredKey | null): void {
    if (stored === null || stored.id !== id || this.isShredded(id)) this.#stored.delete(id);
    else this.#stored.set(id, stored);
  }

  /** open: it is not sealed; discard: sealed with what nobody keeps, for its keys are shredded; lost: it is not known. */
  get sealsWith(): number | 'open' | 'discard' | 'lost' {
    if (this.#head === null) return 'open';
    if (this.#head === 'lost') return 'lost';
    return this.#head.state === 'sealed' ? this.#head.current : 'discard';
  }

  get hasHead(): boolean {
    return this.#head !== null;
  }

  key(id: number): StoredKey | null {
    return this.#stored.get(id) ?? null;
  }

  get ids(): Iterable<number> {
    return this.#stored.keys();
  }

  isShredded(id: number): boolean {
    return this.#head !== null && this.#head !== 'lost' && id <= this.#head.shredded;
  }
}
