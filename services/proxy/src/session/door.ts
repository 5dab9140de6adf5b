/** What all sessions of one proxy share. */
import type { PgErrorSink } from '../metrics.ts';
import type { Router } from '../routing/router.ts';
import type { Checkout } from './checkout.ts';
import type { Session } from './session.ts';
import type { StatementRegistry } from './statements.ts';

export interface Door {
  readonly router: Router;
  readonly registry: StatementRegistry;
  /** drover.context for a tenant and epoch, signed for a backend. */
  sign(tenant: string, epoch: number, backendNumber: string): string;
  /** Transactions that wait for a backend; a sweeper ends those that wait too long. */
  readonly waiting: Set<Checkout>;
  /** Sessions whose client does not read. */
  readonly stalled: Set<Session>;
  readonly holdMs: number;
  readonly stats: Stats;
  readonly errors: PgErrorSink;
  closed(session: Session): void;
}

/** Plain numbers on the hot path; the metrics are brought up to date once a second. */
export interface Stats {
  transactions: number;
  /** Backends made fit before a transaction. */
  adoptions: number;
  replays: number;
  holds: number;
  readonly pins: Map<string, number>;
  /** Seconds, newly ended holds. */
  holdSeconds: number[];
}
