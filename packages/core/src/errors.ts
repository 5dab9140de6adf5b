/**
 * The error catalogue. What Drover throws is a {@link DroverError} with a stable code; the code decides how
 * callers treat it (its disposition), what the operator is told, and where the reference page explains it.
 */

/** retry: try again; resync: position no longer usable; park: this tenant stops; fatal: stop the process. */
export type Disposition = 'retry' | 'resync' | 'park' | 'fatal' | 'cancelled';

interface CatalogueEntry {
  readonly disposition: Disposition;
  /** What it means and what the operator does. The reference page is generated from this text. */
  readonly doc: string;
}

export const CATALOGUE = {
  'config.invalid': {
    disposition: 'fatal',
    doc: 'The configuration has one or more mistakes. Each is named with file, key and an example; mend them and start again.',
  },
  'config.invalid_name': {
    disposition: 'fatal',
    doc: 'A tenant or cluster name cannot be used. The hint gives the allowed form.',
  },
  'config.missing': {
    disposition: 'fatal',
    doc: 'No configuration was found. Run `drover init`, or name a file with --config.',
  },
  'pg.unreachable': {
    disposition: 'retry',
    doc: 'A PostgreSQL cluster does not answer. Drover keeps trying; check the server and the network.',
  },
  'pg.auth': {
    disposition: 'fatal',
    doc: 'PostgreSQL refused the role or password. Run `drover setup`, which creates the roles with the right passwords.',
  },
  'pg.version': {
    disposition: 'fatal',
    doc: 'The server is older than PostgreSQL 16. Upgrade it: origin filtering needs 16 or newer.',
  },
  'pg.not_set_up': {
    disposition: 'fatal',
    doc: 'The schema `drover`, a role or the publication is missing. Run `drover setup`.',
  },
  'pg.slot_missing': {
    disposition: 'resync',
    doc: 'The replication slot is gone (dropped by hand, or after a rebuild). What was written meanwhile may be lost: tenants of this source must be copied anew. Run `drover setup --resync --cluster <cluster>`; its tenants are then parked until `drover tenant replicate <tenant> --to <cluster> --anew`.',
  },
  'pg.slot_lost': {
    disposition: 'resync',
    doc: 'PostgreSQL invalidated the slot (wal_status lost). What to do is as for pg.slot_missing.',
  },
  'pg.slot_recreated': {
    disposition: 'resync',
    doc: 'The replication slot is not the one this reader has confirmed: it was dropped and made again by other hands, and what was written in between is in no stream. What to do is as for pg.slot_missing.',
  },
  'pg.slot_active': {
    disposition: 'retry',
    doc: 'Another reader holds the slot. Drover waits until it lets go.',
  },
  'pg.slot_foreign': {
    disposition: 'fatal',
    doc: 'A replication slot of the name Drover needs exists but is not a pgoutput slot of this database. Drover does not drop it; rename or remove it.',
  },
  'pg.slots_exhausted': {
    disposition: 'fatal',
    doc: 'All replication slots (or WAL senders, or origins) of the server are in use. Raise the named setting and restart PostgreSQL, or remove slots that nobody needs.',
  },
  'pg.publication_foreign': {
    disposition: 'fatal',
    doc: 'A publication named `drover` exists that Drover did not make (it publishes all tables or whole schemas). Rename it.',
  },
  'pg.schema_foreign': {
    disposition: 'fatal',
    doc: 'A schema named `drover` exists that does not belong to drover_admin.',
  },
  'pg.schema_newer': {
    disposition: 'fatal',
    doc: 'The schema `drover` was installed by a newer Drover. Upgrade this process.',
  },
  'pg.privilege': {
    disposition: 'fatal',
    doc: 'The setup user may not do what is needed. Run the statement named as a superuser, or set up with one.',
  },
  'pg.identity_changed': {
    disposition: 'resync',
    doc: 'The system identifier or timeline differs from the one recorded: this is not the same cluster. Nothing is streamed until an operator decides.',
  },
  'pg.stream': {
    disposition: 'retry',
    doc: 'The replication stream failed: PostgreSQL reported an error while decoding, or the bytes broke the protocol. Drover opens it again; when it persists, the text names the cause.',
  },
  'bus.unreachable': {
    disposition: 'retry',
    doc: 'NATS does not answer. The slot keeps the WAL; reading resumes when NATS is back.',
  },
  'bus.version': { disposition: 'fatal', doc: 'The nats-server is older than 2.10, or JetStream is off.' },
  'bus.fenced': {
    disposition: 'fatal',
    doc: 'Another publisher has written to the stream (expected-last-sequence mismatch). This reader is stale and stops.',
  },
  'bus.full': {
    disposition: 'retry',
    doc: 'A stream has reached max_bytes or the server has no storage left. Publishing pauses, PostgreSQL keeps the WAL. Raise the limit or free space.',
  },
  'bus.truncated': {
    disposition: 'resync',
    doc: 'The stream no longer holds a position that is needed. The affected tenants must be copied anew.',
  },
  'bus.recreated': {
    disposition: 'resync',
    doc: 'The stream is not the one the position was taken from. The affected tenants must be copied anew.',
  },
  'bus.lost': {
    disposition: 'resync',
    doc: 'The stream is gone, was made anew, or has lost messages that it had acknowledged (a server that lost power before it had written them). The reader begins anew: with `[nats] durability = "applied"` it publishes again from the slot, otherwise it stops and says what must be copied anew.',
  },
  'block.corrupt': {
    disposition: 'park',
    doc: 'A block failed its checksum or is malformed. Its tenant stops; copy it anew: `drover tenant replicate <tenant> --to <cluster> --anew`.',
  },
  'block.version': {
    disposition: 'park',
    doc: 'A block was written by a newer Drover. Upgrade this process.',
  },
  'block.codec': {
    disposition: 'park',
    doc: 'A block is compressed by snappy (`[cdc] compression`) and the library for it cannot be loaded here: it is an optional npm package with native code. Run `npm ci` without leaving optional packages out, restart, then `drover ledger retry` for tenants that were parked.',
  },
  'block.sealed': {
    disposition: 'park',
    doc: 'A block is sealed under a key that this reader does not have; the text names the tenant, the key and why. When the master key was not given to this process or is not the right one, give it (`[security] master_key`): the tenant goes on by itself. When the keys were shredded, nothing opens the block again: `drover tenant seal`, then copy the tenant anew.',
  },
  'block.profile': {
    disposition: 'park',
    doc: 'A block is stored by a profile of its tenant (`[cdc] compression = "auto"`), and the message with that profile has left the stream or is another one. That takes a replica that lags by three quarters of `[nats] max_age`, or a bus that took nothing for as long. Copy the tenant anew: `drover tenant replicate <tenant> --to <cluster> --anew`.',
  },
  'key.unavailable': {
    disposition: 'retry',
    doc: 'The changes of a tenant are to be sealed and its key cannot be had: the master key is missing or of another generation, or the bucket `drover_keys` has lost it. Nothing is published unsealed: the reader stands still until it can be had, for `[cdc] key_patience` at most, and the source keeps its WAL; then the rows of that tenant are withheld (`apply.withheld`).',
  },
  'key.master': {
    disposition: 'fatal',
    doc: 'The master key cannot be read or is malformed. `[security] master_key` names a file or an environment variable that holds one line a generation, `<number>:<32 bytes in base64>`; `drover key generate` makes one.',
  },
  'key.none': {
    disposition: 'fatal',
    doc: 'The tenant has no keys: its changes are not sealed, or its keys were shredded. `drover tenant seal <tenant>` seals what comes.',
  },
  'key.shredding': {
    disposition: 'fatal',
    doc: 'The keys of the tenant were being shredded when somebody was stopped. Complete it first: `drover key shred <tenant> --yes`.',
  },
  'apply.conflict': {
    disposition: 'park',
    doc: 'A change violates a constraint of the replica. Mend the replica and `drover ledger retry`, or skip it on record.',
  },
  'apply.missing_row': {
    disposition: 'park',
    doc: 'An UPDATE or DELETE found no row on the replica: it was changed by other hands. `drover verify` names the keys.',
  },
  'apply.schema': {
    disposition: 'park',
    doc: 'The replica lacks a table or column, or a type differs. Mend the schema, then `drover ledger retry`.',
  },
  'apply.ddl': {
    disposition: 'park',
    doc: 'A schema change of the source cannot be made on the replica, or not so that the rows come out equal; the text names the command, the table and why. Run what it says on the replica, then `drover ledger retry`; or copy the tenant anew.',
  },
  'apply.ddl_values': {
    disposition: 'resync',
    doc: 'A schema change was made on the replica, but what it put into rows that were there is known at the source alone (a volatile default, CREATE TABLE AS). Copy the tenant anew: `drover tenant replicate <tenant> --to <cluster> --anew`.',
  },
  'apply.withheld': {
    disposition: 'resync',
    doc: 'The source withheld rows of this tenant, because a rule of [[transform]] could not be carried out on them (its table was changed, say): nothing is published unmasked. Or because the tenant is sealed and its key could not be had for longer than `[cdc] key_patience`: nothing is published unsealed. Mend the rule or the table (`drover doctor`, `drover transform preview`) and restart the services, or give the reader the key; then copy the tenant anew: `drover tenant replicate <tenant> --to <cluster> --anew`.',
  },
  'apply.stale_epoch': {
    disposition: 'park',
    doc: 'A change was written under an epoch that has ended. It is kept in the ledger, not applied.',
  },
  'tenant.unknown': {
    disposition: 'fatal',
    doc: 'No such tenant. `drover tenant list` shows the known ones.',
  },
  'tenant.exists': { disposition: 'fatal', doc: 'A tenant of this name exists already.' },
  'tenant.busy': {
    disposition: 'retry',
    doc: 'The tenant is being moved. Wait for it to end: `drover tenant show`.',
  },
  'tenant.transformed': {
    disposition: 'fatal',
    doc: 'The replica is under a rule of [[transform]]: it does not hold the rows as they were written, so the tenant cannot be moved or failed over to it. Take another cluster, or remove the rule, restart the services and copy the tenant anew.',
  },
  'tenant.no_replica': {
    disposition: 'fatal',
    doc: 'The target holds no live replica of the tenant. Add one and wait until it is live.',
  },
  'placement.conflict': {
    disposition: 'retry',
    doc: 'Somebody else changed the placement first (compare-and-set failed).',
  },
  'placement.stale_epoch': { disposition: 'fatal', doc: 'An act under an epoch that has ended was refused.' },
  'failover.drain_timeout': {
    disposition: 'retry',
    doc: 'The switch-over gave up because a transaction stayed open or the replica did not catch up in time. The tenant goes on where it was.',
  },
  'failover.not_leader': { disposition: 'retry', doc: 'No failover controller holds the lease right now.' },
  'copy.failed': {
    disposition: 'retry',
    doc: 'A tenant copy failed and will be resumed from its last chunk.',
  },
  'verify.failed': {
    disposition: 'retry',
    doc: 'Verification could not be completed (barrier did not arrive in time).',
  },
  'local.missing': {
    disposition: 'fatal',
    doc: 'A program needed on this machine was not found; the text says which and how to get it.',
  },
  'local.port_in_use': {
    disposition: 'fatal',
    doc: 'A port is taken by another process. Stop it or choose another with the named option.',
  },
  'local.failed': {
    disposition: 'fatal',
    doc: 'A local server did not start; the last lines of its log are shown.',
  },
  'rpc.invalid': { disposition: 'fatal', doc: 'A request is malformed; the text says which field.' },
  'rpc.unauthenticated': {
    disposition: 'fatal',
    doc: 'The control plane wants a token and was given none or another. It is `[control] token` of drover.toml.',
  },
  'rpc.unavailable': { disposition: 'retry', doc: 'The control plane does not answer at the address given.' },
  'internal.assertion': {
    disposition: 'fatal',
    doc: 'A bug: an invariant did not hold and the unit of work was stopped. Please report it.',
  },
  'internal.cancelled': { disposition: 'cancelled', doc: 'The work was cancelled by a shutdown.' },
} as const satisfies Record<string, CatalogueEntry>;

export type ErrorCode = keyof typeof CATALOGUE;

export interface ErrorOptionsEx {
  /** What to do about it, one sentence. */
  readonly hint?: string;
  /** The facts, for logs and for callers that decide. */
  readonly facts?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

export class DroverError extends Error {
  readonly code: ErrorCode;
  readonly disposition: Disposition;
  readonly hint: string | undefined;
  readonly facts: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: ErrorOptionsEx = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'DroverError';
    this.code = code;
    this.disposition = CATALOGUE[code].disposition;
    this.hint = options.hint;
    this.facts = options.facts ?? {};
  }
}

/** Of a reason on record, which begins with its code (`<code>: …`); null: it begins with none. */
export function dispositionOf(reason: string | null): Disposition | null {
  const code = reason?.slice(0, reason.indexOf(':')) ?? '';
  const found = Object.entries(CATALOGUE).find(([name]) => name === code);
  return found === undefined ? null : found[1].disposition;
}

/** One line for a person: message, hint, and the causes below. */
export function describeError(error: unknown): string {
  if (error instanceof DroverError) {
    const cause = error.cause === undefined ? '' : ` (${describeError(error.cause)})`;
    return `${error.message}${cause}${error.hint === undefined ? '' : `; ${error.hint}`}`;
  }
  if (error instanceof AggregateError && error.errors.length > 0) return describeError(error.errors[0]);
  if (error instanceof Error) return error.message === '' ? error.name : error.message;
  return String(error);
}
