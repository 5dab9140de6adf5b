/** What a session is made of, as its two directions see it. */
import type { Account } from './account.ts';
import type { Checkout } from './checkout.ts';
import type { ClientLink } from './client-link.ts';
import type { ClientStatements } from './client-statements.ts';
import type { SessionState } from './session-state.ts';

export interface SessionParts {
  readonly account: Account;
  readonly statements: ClientStatements;
  readonly state: SessionState;
  /** Has the backend. */
  readonly checkout: Pick<Checkout, 'backend'>;
  readonly link: Pick<ClientLink, 'write' | 'pause'>;
}

/** The client sends what is no message: its connection ends. */
export class ProtocolError extends Error {}
