/** Literals: 'text', numbers, TRUE, FALSE, and DATE, TIMESTAMP, TIMESTAMPTZ, UUID before a quoted text. */
import type { Token } from './lex.ts';
import { ExpressionFault, type Literal, type LiteralKind } from './types.ts';

export const TYPED_LITERALS: ReadonlyMap<string, LiteralKind> = new Map([
  ['date', 'date'],
  ['timestamp', 'timestamp'],
  ['timestamptz', 'timestamptz'],
  ['uuid', 'uuid'],
] as const);

export function literalAt(tokens: readonly Token[], from: number): { literal: Literal; next: number } {
  const token = tokens[from];
  const after = tokens[from + 1];
  const { kind = 'end', text = '', at = 0 } = token ?? {};
  if (kind === 'text') return { literal: { kind: 'text', text, at }, next: from + 1 };
  if (kind === 'number') return { literal: { kind: 'number', text, at }, next: from + 1 };
  if (kind === 'symbol' && text === '-' && after?.kind === 'number')
    return { literal: { kind: 'number', text: `-${after.text}`, at }, next: from + 2 };
  if (kind === 'word' && (text === 'true' || text === 'false'))
    return { literal: { kind: 'bool', text, at }, next: from + 1 };
  if (kind === 'word' && text === 'null')
    throw new ExpressionFault(at, 'nothing compares with NULL; write IS NULL or IS NOT NULL');
  const typed = kind === 'word' ? TYPED_LITERALS.get(text) : undefined;
  if (typed !== undefined && after?.kind === 'text')
    return { literal: { kind: typed, text: after.text, at }, next: from + 2 };
  throw new ExpressionFault(at, 'a column, a text in single quotes, a number, TRUE or FALSE was expected');
}
