/** Everything a profile knows, before it is bytes: tables, how records follow each other, and a model for each column. */
import type { RelationDefinition } from './body.ts';
import type { GroupModel } from './group-model.ts';
import type { IntModel } from './int-model.ts';
import type { Table } from './table.ts';

/** What may come next: these, then each relation, then each group. */
export const Event = { end: 0, begin: 1, other: 2, first: 3 } as const;

export interface ProfileModel {
  /** Whose values it holds: it is never used for another tenant. */
  readonly tenant: string;
  /** Which set of tables, and which state of their columns. */
  readonly tables: string;
  readonly relations: readonly RelationDefinition[];
  readonly groups: readonly GroupModel[];
  /** What comes after each event. */
  readonly next: readonly Table[];
  readonly lsn: IntModel;
  readonly time: IntModel;
  readonly xid: IntModel;
  /** Of records that no group knows. */
  readonly length: IntModel;
  /** Text of earlier messages, for zstd. */
  readonly dictionary: Buffer;
  /** How many models of numbers there are. */
  readonly ints: number;
  /** Columns of the widest group. */
  readonly columns: number;
}
