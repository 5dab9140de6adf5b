/**
 * Who gets a backend next. Clients wait in line by tenant, first come first served within one. A backend that changes its tenant must be
 * cleaned and given the other's context, a round trip to the server; so it stays with a tenant that has more clients waiting, with these
 * limits (I7):
 *
 * - a tenant that waits and has no backend at all gets the next one of a tenant that has several, or one whose turn is over;
 * - otherwise a backend whose turn is over goes to the tenant longest without a turn, unless that has more backends already.
 *
 * Pure: when a turn is over is for the caller to say.
 */

/** How long a backend stays with one tenant while others are in need, milliseconds. To change costs a tenth of a millisecond or two. */
export const TURN_MS = 5;

/** One tenant's part in a pool. */
export class Share<W> {
  readonly tenant: string;
  /** Backends that serve it now. */
  busy = 0;
  /** Those, and idle ones that served nobody else since. */
  backends = 0;
  readonly waiters = new Set<W>();
  ring: Ring<W> | null = null;
  before: Share<W> | null = null;
  behind: Share<W> | null = null;

  constructor(tenant: string) {
    this.tenant = tenant;
  }
}

/** Tenants that wait, the one longest without a turn first. */
class Ring<W> {
  first: Share<W> | null = null;
  last: Share<W> | null = null;

  append(share: Share<W>): void {
    share.ring = this;
    share.before = this.last;
    share.behind = null;
    if (this.last === null) this.first = share;
    else this.last.behind = share;
    this.last = share;
  }

  remove(share: Share<W>): void {
    share.ring = null;
    if (share.before === null) this.first = share.behind;
    else share.before.behind = share.behind;
    if (share.behind === null) this.last = share.before;
    else share.behind.before = share.before;
    share.before = null;
    share.behind = null;
  }

  /** The first that is not this one. */
  other(than: Share<W> | null): Share<W> | null {
    return this.first === than ? (this.first?.behind ?? null) : this.first;
  }
}

export class Line<W extends { readonly tenant: string }> {
  readonly #shares = new Map<string, Share<W>>();
  /** Tenants that wait and have no backend. */
  readonly #unserved = new Ring<W>();
  /** Tenants that have some and want more. */
  readonly #served = new Ring<W>();
  #size = 0;

  /** How many wait. */
  get size(): number {
    return this.#size;
  }

  /** The tenant's part; the same object for as long as it has a part. */
  share(tenant: string): Share<W> {
    let share = this.#shares.get(tenant);
    if (share === undefined) {
      share = new Share(tenant);
      this.#shares.set(tenant, share);
    }
    return share;
  }

  /** To be called when nothing of the share may be left: it is forgotten if so. */
  settle(share: Share<W>): void {
    if (share.backends === 0 && share.waiters.size === 0) this.#shares.delete(share.tenant);
  }

  join(waiter: W): void {
    const share = this.share(waiter.tenant);
    if (share.waiters.has(waiter)) return;
    share.waiters.add(waiter);
    this.#size++;
    if (share.ring === null) this.#append(share);
  }

  leave(waiter: W): void {
    const share = this.#shares.get(waiter.tenant);
    if (share === undefined || !share.waiters.delete(waiter)) return;
    this.#size--;
    if (share.waiters.size > 0) return;
    share.ring?.remove(share);
    this.settle(share);
  }

  /** One more backend serves the tenant. */
  begin(share: Share<W>): void {
    share.busy++;
    if (share.busy === 1) this.#moveOver(share);
  }

  /** One fewer. */
  end(share: Share<W>): void {
    share.busy--;
    if (share.busy === 0) this.#moveOver(share);
  }

  #moveOver(share: Share<W>): void {
    if (share.ring === null) return;
    share.ring.remove(share);
    this.#append(share);
  }

  #append(share: Share<W>): void {
    (share.busy === 0 ? this.#unserved : this.#served).append(share);
  }

  /**
   * Whether a backend that has just become free goes on serving its tenant: there must be clients of it waiting.
   * @param own the tenant's part; the backend does not count as busy any more
   * @param turnOver the backend's turn with that tenant is over
   */
  stays(own: Share<W>, turnOver: boolean): boolean {
    if (own.waiters.size === 0) return false;
    if (this.#unserved.other(own) !== null) return own.busy === 0 && !turnOver;
    if (!turnOver) return true;
    const other = this.#served.other(own);
    return other === null || other.busy > own.busy;
  }

  /** Whose turn it is with a backend that does not stay with `own`; `own` itself only when nobody else waits. */
  turn(own: Share<W> | null): Share<W> | null {
    return this.#unserved.other(own) ?? this.#served.other(own) ?? (own?.ring == null ? null : own);
  }

  /** Takes the share's first out of the line. */
  call(share: Share<W>): W | undefined {
    const [waiter] = share.waiters;
    if (waiter === undefined) return undefined;
    share.waiters.delete(waiter);
    this.#size--;
    share.ring?.remove(share);
    if (share.waiters.size > 0) this.#append(share);
    return waiter;
  }

  /** Everybody, in no particular order; the line is empty afterwards. */
  dismiss(): W[] {
    const all: W[] = [];
    for (const share of Array.from(this.#shares.values())) {
      all.push(...share.waiters);
      share.waiters.clear();
      share.ring?.remove(share);
      this.settle(share);
    }
    this.#size = 0;
    return all;
  }
}
