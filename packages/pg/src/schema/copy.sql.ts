/** drover.copy: the progress of a tenant's first copy to this cluster. Written with the copied rows, so a crash resumes. */
export const COPY_TABLE = `
CREATE TABLE IF NOT EXISTS drover.copy (
  tenant     text COLLATE "C" PRIMARY KEY,
  source     text NOT NULL,
  state      text NOT NULL,
  attempt    integer NOT NULL DEFAULT 1,
  snapshot   jsonb NOT NULL DEFAULT '{}',
  progress   jsonb NOT NULL DEFAULT '{}',
  error      text,
  started_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
)`;

export interface CopyRow {
  readonly tenant: string;
  readonly source: string;
  /** Migration's own words. */
  readonly state: string;
  readonly attempt: number;
  /** Where the copy starts in the stream, the barrier's LSN, and what else migration notes about it. */
  readonly snapshot: Readonly<Record<string, unknown>>;
  /** Per table. */
  readonly progress: Readonly<Record<string, unknown>>;
  readonly error: string | null;
  readonly startedAt: Date;
  readonly updatedAt: Date;
}
