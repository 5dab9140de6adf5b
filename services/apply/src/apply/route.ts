/**
 * What a batch means: for every entry the decision of the table, for every tenant its row afterwards. Pure: the rows as read
 * under lock come in and are moved on in memory; the transaction then writes what this says, or nothing of it.
 *
 * Longer than our files are: each case of the table moves the same rows and lists, in the order of the entries.
 */
import { assert, type ClusterId, type DroverError, describeError, type Lsn } from '@drover/core';
import type { Transaction } from '../changes/decoded-block.ts';
import { describeChanges } from '../changes/describe.ts';
import { type EarlyHeader, type Entry, reachesEnd } from '../changes/entry.ts';
import { decide, type Lane } from '../decide/decide.ts';
import type { TenantState } from '../decide/tenant-state.ts';
import { commitOf } from '../streamed/read-again.ts';
import type { LedgerNote } from './ledger.ts';
import { parseMessage, requireWhole } from './messages.ts';

export interface RouteContext {
  /** The target. */
  readonly cluster: ClusterId;
  readonly source: ClusterId;
  readonly stream: string;
  readonly lane: Lane;
}

/** Changes `from` to `to - 1` of an entry's block, to be written. */
export interface Work {
  readonly entry: Entry;
  readonly tenant: number;
  readonly lenient: boolean;
  readonly from: number;
  to: number;
}

/** Published on `drover.applied.<cluster>` once the transaction is durable. */
export interface AppliedBarrier {
  readonly tenant: string;
  readonly id: string;
  readonly lsn: Lsn;
  /** What stood before it went to the ledger, not into the tables. */
  readonly stale: boolean;
}

/** A tenant is held at a barrier, for so long at most. */
export interface Pause {
  readonly tenant: string;
  /** Of its row from then on: names the barrier. */
  readonly reason: string;
  readonly ms: number;
}

export interface Routed {
  readonly work: readonly Work[];
  /** By number. */
  readonly tenants: readonly string[];
  readonly notes: readonly LedgerNote[];
  readonly barriers: readonly AppliedBarrier[];
  /** Rows that differ from what was read. */
  readonly dirty: ReadonlySet<TenantState>;
  /** Tenants that now need a lane of their own. */
  readonly demoted: readonly string[];
  readonly paused: readonly Pause[];
  readonly parked: readonly { readonly tenant: string; readonly reason: string }[];
  readonly held: readonly { readonly tenant: string; readonly reason: string }[];
  /** Blocks by what became of them. */
  readonly counts: ReadonlyMap<string, number>;
  readonly transactions: number;
  /** Newest heartbeat, Unix milliseconds at the source. */
  readonly heartbeatMs: number | null;
  /** Rows of transactions in progress that were passed. */
  readonly parts?: readonly PassedPart[];
}

export interface PassedPart {
  readonly entry: Entry;
  /** Everything before it is applied, by this lane: its rows may be written, in a transaction that stays open. */
  readonly ready: boolean;
}

export function route(
  entries: readonly Entry[],
  states: ReadonlyMap<string, TenantState>,
  context: RouteContext,
): Routed {
  const router = new Router(states, context);
  for (const entry of entries) router.add(entry);
  return router.result();
}

const EPOCH_MARK = /^epoch:/;

class Router {
  readonly #states: ReadonlyMap<string, TenantState>;
  readonly #context: RouteContext;
  readonly #numbers = new Map<string, number>();
  readonly #work: Work[] = [];
  readonly #notes: LedgerNote[] = [];
  readonly #barriers: AppliedBarrier[] = [];
  readonly #dirty = new Set<TenantState>();
  readonly #demoted: string[] = [];
  readonly #paused: Pause[] = [];
  readonly #parked: { tenant: string; reason: string }[] = [];
  readonly #held: { tenant: string; reason: string }[] = [];
  readonly #counts = new Map<string, number>();
  #transactions = 0;
  #heartbeatMs: number | null = null;
  readonly #parts: PassedPart[] = [];

  constructor(states: ReadonlyMap<string, TenantState>, context: RouteContext) {
    this.#states = states;
    this.#context = context;
  }

  result(): Routed {
    return {
      work: this.#work,
      tenants: [...this.#numbers.keys()],
      notes: this.#notes,
      barriers: this.#barriers,
      dirty: this.#dirty,
      demoted: this.#demoted,
      paused: this.#paused,
      parked: this.#parked,
      held: this.#held,
      counts: this.#counts,
      transactions: this.#transactions,
      heartbeatMs: this.#heartbeatMs,
      parts: this.#parts,
    };
  }

  add(entry: Entry): void {
    const state = this.#states.get(entry.tenant);
    if (entry.kind === 'elsewhere') this.#count('other_database');
    else if (entry.kind === 'heartbeat') this.#heartbeat(entry);
    else if (entry.kind === 'damaged') this.#damaged(entry, state);
    else if (entry.kind === 'part') this.#part(entry, state);
    else this.#block(entry, state);
  }

  #block(entry: Entry, state: TenantState | undefined): void {
    const header = entry.block?.header;
    if (header === undefined) return;
    const { stream, lane } = this.#context;
    const decision = decide(state, { header, stream, seq: entry.seq }, lane);
    const { error } = entry;
    const refused = error !== null && (decision.kind === 'apply' || decision.kind === 'stale');
    this.#count(refused ? 'unopened' : decision.kind);
    if (state === undefined) return;
    switch (decision.kind) {
      case 'apply':
        if (error === null) this.#apply(entry, state);
        else this.#park(entry, state, `${error.code}: ${describeError(error)}`);
        return;
      case 'stale':
        this.#stale(entry, state, decision.why);
        return;
      case 'hold':
        this.#hold(entry, state, decision.reason);
        return;
      case 'demote':
        state.feed = 'catchup';
        state.stream = stream;
        state.streamSeq = entry.firstSeq - 1;
        this.#dirty.add(state);
        this.#demoted.push(state.tenant);
        return;
      case 'resync':
        this.#park(entry, state, `pg.identity_changed: ${decision.why}`);
        return;
      case 'absent':
      case 'already':
      case 'wait':
        return;
    }
  }

  #apply(entry: Entry, state: TenantState): void {
    const { block } = entry;
    if (block === null) return;
    assert(entry.early === null, 'a streamed transaction is applied with its parts', { seq: entry.seq });
    const { header } = block;
    const known = state.systemId === header.systemId && state.generation === header.generation;
    const done = known ? state.commitLsn : null;
    this.#dirty.add(state);
    state.systemId = header.systemId;
    state.generation = header.generation;
    if (!known) state.commitLsn = null;
    for (let i = entry.from; i < entry.to; i++) {
      const tx = block.transactions[i];
      if (tx === undefined || (done !== null && tx.lsn <= done)) continue;
      if (tx.lsn === state.skipLsn) {
        this.#note(entry, tx, state, 'skipped', 'passed over by an operator');
        state.skipLsn = null;
      } else {
        if (tx.messages.length > 0) requireWhole(tx.messages);
        this.#write(entry, tx, state);
      }
      state.commitLsn = tx.lsn;
      state.commitTimeMs = Number(tx.timeUs / 1000n) + 946_684_800_000;
      const pause = this.#messages(tx, false);
      if (pause !== undefined) {
        const last = i === entry.to - 1 && reachesEnd(entry);
        this.#at(state, last ? entry.seq : entry.firstSeq - 1);
        state.feed = 'held';
        state.reason = `pause:${pause.id}`;
        this.#paused.push({ tenant: state.tenant, reason: state.reason, ms: pause.ms });
        return;
      }
    }
    if (reachesEnd(entry)) {
      state.commitLsn =
        state.commitLsn === null || header.lastLsn > state.commitLsn ? header.lastLsn : state.commitLsn;
      state.part = header.part;
      this.#at(state, entry.seq);
    } else {
      this.#at(state, entry.firstSeq - 1);
    }
  }

  #write(entry: Entry, tx: Transaction, state: TenantState): void {
    this.#transactions++;
    if (tx.from === tx.to) return;
    const lenient = state.lenientUntil !== null && tx.lsn <= state.lenientUntil;
    const last = this.#work.at(-1);
    if (
      last !== undefined &&
      last.entry.block === entry.block &&
      last.to === tx.from &&
      last.lenient === lenient
    ) {
      last.to = tx.to;
    } else {
      this.#work.push({ entry, tenant: this.#number(state.tenant), lenient, from: tx.from, to: tx.to });
    }
  }

  /** Rows that have not committed count for nothing: the tenant's place moves past them. */
  #part(entry: Entry, state: TenantState | undefined): void {
    this.#count('part');
    const ours = state !== undefined && this.#isOurs(state);
    const ready = ours && this.#context.lane === 'main' && isStrict(entry.early, state);
    this.#parts.push({ entry, ready });
    if (!ours) return;
    this.#at(state, entry.seq);
    this.#dirty.add(state);
  }

  /** Announces barriers; returns the pause that one of them asks this cluster for. */
  #messages(tx: Transaction, stale: boolean): { id: string; ms: number } | undefined {
    let pause: { id: string; ms: number } | undefined;
    for (const raw of tx.messages) {
      const message = parseMessage(raw);
      if (message?.kind === 'heartbeat') this.#heartbeatMs = Math.max(this.#heartbeatMs ?? 0, message.at);
      if (message?.kind !== 'barrier') continue;
      this.#barriers.push({ tenant: message.tenant, id: message.id, lsn: tx.lsn, stale });
      if (message.pauseFor?.target === this.#context.cluster)
        pause = { id: message.id, ms: message.pauseFor.ms };
    }
    return pause;
  }

  #heartbeat(entry: Entry): void {
    this.#count('heartbeat');
    for (const tx of entry.block?.transactions ?? []) this.#messages(tx, false);
  }

  #stale(entry: Entry, state: TenantState, why: string): void {
    const { block } = entry;
    if (block === null) return;
    for (let i = entry.from; i < entry.to; i++) {
      const tx = block.transactions[i];
      if (tx === undefined) continue;
      const parts = commitOf(entry)?.streamed.parts ?? 0;
      if (tx.to > tx.from || parts > 0) this.#note(entry, tx, state, 'stale_epoch', why);
      this.#messages(tx, true);
    }
    if (entry.error !== null) this.#unread(entry, entry.error, state, why);
    if (this.#isOurs(state) && reachesEnd(entry)) {
      this.#at(state, entry.seq);
      this.#dirty.add(state);
    }
  }

  /** That it was written is on record, though nobody here can say what. */
  #unread(entry: Entry, error: DroverError, state: TenantState, why: string): void {
    const header = entry.block?.header;
    if (header === undefined) return;
    const parts = commitOf(entry)?.streamed.parts ?? 0;
    if (header.changes === 0 && parts === 0) return;
    const { stream } = this.#context;
    this.#notes.push({
      kind: 'stale_epoch',
      tenant: state.tenant,
      header,
      lsn: header.firstLsn,
      stream,
      seq: entry.seq,
      reason: why,
      detail: { ...unreadable(error), transactions: header.transactions, changes: header.changes },
    });
  }

  #hold(entry: Entry, state: TenantState, reason: string): void {
    const { stream } = this.#context;
    if (this.#isOurs(state)) {
      this.#at(state, entry.firstSeq - 1);
      state.feed = 'held';
    } else if (state.source === this.#context.source || (state.stream === stream && isMarked(state))) {
      return; // waits already, from an earlier message on
    } else {
      // A primary, or fed by another cluster: where the new epoch begins is remembered until the row follows.
      state.stream = stream;
      state.streamSeq = entry.firstSeq - 1;
    }
    state.reason = reason;
    this.#dirty.add(state);
    this.#held.push({ tenant: state.tenant, reason });
  }

  #damaged(entry: Entry, state: TenantState | undefined): void {
    this.#count('damaged');
    if (state === undefined || !this.#isOurs(state)) return;
    if (state.stream === this.#context.stream && state.streamSeq !== null && entry.seq <= state.streamSeq)
      return;
    const error: DroverError | null = entry.error;
    this.#park(entry, state, `${error?.code ?? 'block.corrupt'}: ${error?.message ?? 'a block is damaged'}`);
  }

  #park(entry: Entry, state: TenantState, reason: string): void {
    const { stream, source } = this.#context;
    state.feed = 'parked';
    state.reason = reason;
    this.#at(state, entry.firstSeq - 1);
    this.#dirty.add(state);
    this.#parked.push({ tenant: state.tenant, reason });
    const header = entry.block?.header ?? {
      source,
      epoch: state.epoch as never,
      part: 0,
      firstLsn: 0n as Lsn,
    };
    // Not one transaction of it can be named, so none can be passed over.
    const lsn = entry.error === null ? header.firstLsn : (0n as Lsn);
    this.#notes.push({
      kind: 'poison',
      tenant: state.tenant,
      header,
      lsn,
      stream,
      seq: entry.seq,
      reason,
      detail: entry.error === null ? {} : unreadable(entry.error),
    });
  }

  #note(
    entry: Entry,
    tx: Transaction,
    state: TenantState,
    kind: 'stale_epoch' | 'skipped',
    reason: string,
  ): void {
    if (entry.block === null) return;
    this.#notes.push({
      kind,
      tenant: state.tenant,
      header: entry.block.header,
      lsn: tx.lsn,
      stream: this.#context.stream,
      seq: entry.seq,
      reason,
      detail: {
        ...describeChanges(entry.block, tx.from, tx.to),
        // Its rows stand in the stream.
        ...(entry.early === null ? {} : { streamed: entry.early.streamed }),
      },
    });
  }

  /** Is the tenant fed by this very lane? */
  #isOurs(state: TenantState): boolean {
    const { source, lane } = this.#context;
    return (
      state.role === 'replica' &&
      state.source === source &&
      state.feed === (lane === 'main' ? 'live' : 'catchup')
    );
  }

  /** Moves the row's position in this stream on, never back, and never over a mark of another stream. */
  #at(state: TenantState, seq: number): void {
    const { stream } = this.#context;
    if (state.stream === stream) state.streamSeq = Math.max(state.streamSeq ?? 0, seq);
    else if (!isMarked(state)) {
      state.stream = stream;
      state.streamSeq = seq;
    }
  }

  #number(tenant: string): number {
    let number = this.#numbers.get(tenant);
    if (number === undefined) {
      number = this.#numbers.size;
      this.#numbers.set(tenant, number);
    }
    return number;
  }

  #count(what: string): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1);
  }
}

/** As the checkpoint is now, changes of this block's source meet exactly the rows they speak of. */
function isStrict(header: EarlyHeader | null, state: TenantState): boolean {
  if (header === null || header.epoch !== state.epoch || state.skipLsn !== null) return false;
  if (state.systemId !== null && state.systemId !== header.systemId) return false;
  if (state.generation !== null && state.generation !== header.generation) return false;
  const { lenientUntil, commitLsn } = state;
  return lenientUntil === null || (commitLsn !== null && commitLsn >= lenientUntil);
}

/** The row says where in a stream a newer epoch begins. */
const isMarked = (state: TenantState): boolean => state.reason !== null && EPOCH_MARK.test(state.reason);

function unreadable(error: DroverError): Readonly<Record<string, unknown>> {
  return { ...error.facts, error: error.message, hint: error.hint ?? null };
}
