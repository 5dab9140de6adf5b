/** What doctor says. One finding is one obstacle at one object, with the SQL that mends it where SQL can. */
export interface Finding {
  /** error: Drover does not work, or not safely, until it is mended; warning: know this; ok: checked and well. */
  readonly severity: 'error' | 'warning' | 'ok';
  /** Stable, `snake_case`. */
  readonly code: string;
  /** `table public.orders`, `server`, `role drover_cdc`, ... */
  readonly object: string;
  readonly message: string;
  /** Statements that mend it, each ending in a semicolon, one below the other. */
  readonly sql?: string;
  /** The same one by one, for execution: some cannot run in a transaction block (CONCURRENTLY). */
  readonly statements?: readonly string[];
}

export function finding(
  severity: Finding['severity'],
  code: string,
  object: string,
  message: string,
  statements: readonly string[] = [],
): Finding {
  if (statements.length === 0) return { severity, code, object, message };
  return { severity, code, object, message, statements, sql: statements.map((s) => `${s};`).join('\n') };
}

export const ok = (code: string, object: string, message: string): Finding =>
  finding('ok', code, object, message);
