/**
 * What a statement to the source threw, in words the reader acts on. A server that is stopping, starting, in recovery (a standby that is about to
 * be promoted) or short of something is tried again; what nobody expected stays as it is, and ends the service. Pure.
 */
import { DroverError } from '@drover/core';
import { type ConnectOptions, classifyPgError } from '@drover/pg';

const PASSES: ReadonlySet<string> = new Set(['connection', 'starting', 'cancelled', 'resource']);
/** object_not_in_prerequisite_state: "recovery is in progress". */
const IN_RECOVERY = '55000';

export function sourceError(error: unknown, { host, port, database }: ConnectOptions): unknown {
  if (error instanceof DroverError) return error;
  const { kind, sqlstate } = classifyPgError(error);
  if (!PASSES.has(kind) && sqlstate !== IN_RECOVERY) return error;
  return new DroverError('pg.unreachable', `PostgreSQL at ${host}:${port} takes no work now`, {
    facts: { host, port, database },
    cause: error,
  });
}
