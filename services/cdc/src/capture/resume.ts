/**
 * Whether a reader may go on where the stream ends (I1, I2). Positions are comparable only within one system identifier and one
 * slot generation; whatever does not fit is refused with advice, never passed over silently. Pure.
 */
import { DroverError, type Lsn } from '@drover/core';
import { type Mark, Marks } from './marks.ts';

/** What the stream's last flush group says; the bus's ResumeMarks. */
export interface FoundMarks {
  readonly safeLsn: Lsn;
  readonly systemId: string;
  readonly generation: number;
  readonly perTenant: ReadonlyMap<string, Mark>;
}

export interface SourceFacts {
  readonly database: string;
  /** From IDENTIFY_SYSTEM. */
  readonly systemId: string;
  /** What drover.node recorded when the database was set up. */
  readonly recordedSystemId: string;
  /** Of the slot, from drover.node. */
  readonly generation: number;
  /** Current end of WAL. */
  readonly walEnd: Lsn;
  /** Where the slot stood when it was created (null: not recorded), and where it stands. */
  readonly slotLsn: Lsn | null;
  readonly confirmedLsn: Lsn | null;
}

/** @throws DroverError `pg.identity_changed` */
export function checkIdentity(source: SourceFacts): void {
  if (source.systemId === source.recordedSystemId) return;
  throw new DroverError(
    'pg.identity_changed',
    `database "${source.database}" is on another PostgreSQL system than the one that was set up`,
    {
      hint: 'if the cluster was rebuilt on purpose, run `drover setup --resync`; otherwise correct host and port',
      facts: { recorded: source.recordedSystemId, found: source.systemId },
    },
  );
}

/**
 * Of a connection that comes back: the lanes go on where they are, so it must be the system that they have read. A newer generation begins them anew.
 * @throws DroverError `pg.identity_changed`
 */
export function checkSameSystem(
  before: { readonly systemId: string; readonly generation: number } | null,
  { database, systemId, generation }: SourceFacts,
): void {
  if (before === null || before.generation !== generation || before.systemId === systemId) return;
  throw new DroverError(
    'pg.identity_changed',
    `database "${database}" is on another PostgreSQL system than the one that was read until now`,
    {
      hint: 'if the cluster was rebuilt on purpose, run `drover setup --resync` and copy its tenants anew; otherwise correct host and port',
      facts: { before: before.systemId, found: systemId },
    },
  );
}

/** A slot is confirmed only when every stream of its cluster has held a message: then an empty stream has lost it. */
export function hasLostStream({ slotLsn, confirmedLsn }: SourceFacts): boolean {
  return slotLsn !== null && confirmedLsn !== null && confirmedLsn > slotLsn;
}

/**
 * The marks to go on from. A newer generation is an operator's decision to start anew (`setup --resync`): then nothing that the
 * stream holds is comparable, and nothing is dropped.
 * @throws DroverError `pg.identity_changed`
 */
export function resumeFrom(found: FoundMarks | null, source: SourceFacts): Marks {
  if (found === null || found.generation < source.generation) return new Marks();
  if (found.systemId !== source.systemId || found.generation > source.generation) {
    throw new DroverError(
      'pg.identity_changed',
      `the stream was written from another history than database "${source.database}" has now`,
      {
        hint: 'was the cluster restored or rebuilt? if that is wanted, run `drover setup --resync` and copy its tenants anew',
        facts: {
          stream: `${found.systemId}/${found.generation}`,
          source: `${source.systemId}/${source.generation}`,
        },
      },
    );
  }
  return new Marks(found.safeLsn, found.perTenant);
}
