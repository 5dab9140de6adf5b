/** How this package refuses: one place that decides the code. */
import { DroverError } from '@drover/core';

/** Why a rule cannot be carried out on a table; findings are named after it. */
export type Refusal =
  | 'missing_column'
  | 'name_taken'
  | 'no_columns'
  | 'tenant_column'
  | 'key'
  | 'filter'
  | 'filter_identity'
  | 'tier'
  | 'type'
  | 'value';

export interface RefusedFacts {
  readonly refusal: Refusal;
  /** The rule or action. */
  readonly at: string;
  readonly column?: string;
}

/** A rule that cannot be carried out on a table as it is. Nothing of that table may be passed on instead. */
export function refused(refusal: Refusal, at: string, wrong: string, column?: string): DroverError {
  return new DroverError('config.invalid', `${at}: ${wrong}`, {
    hint: '`drover transform preview` shows each rule against the live tables',
    facts: { refusal, at, ...(column === undefined ? {} : { column }) } satisfies RefusedFacts,
  });
}

/** What {@link refused} said; undefined: another error. */
export function refusalOf(error: unknown): RefusedFacts | undefined {
  if (!(error instanceof DroverError) || typeof error.facts['refusal'] !== 'string') return undefined;
  return error.facts as unknown as RefusedFacts; // made above
}
