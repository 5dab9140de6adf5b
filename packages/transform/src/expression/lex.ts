/**
 * Words of a row filter, cut as PostgreSQL's lexer cuts them (scan.l) as far as they are allowed at all: everything else, comments, E'' and U&''
 * strings, dollar quotes, parameters, casts and operators of any other kind among it, is refused at its place.
 */
import { ExpressionFault } from './types.ts';

export interface Token {
  readonly kind: 'word' | 'quoted' | 'text' | 'number' | 'symbol' | 'end';
  /** Words in lower case, without their quotes. */
  readonly text: string;
  readonly at: number;
}

const BLANK = /[ \t\n\r\f]/;
/** Longest operators first; what they are followed by decides (see {@link symbolAt}). */
const SYMBOLS = ['<=', '>=', '<>', '!=', '=', '<', '>', '(', ')', ',', '-'];
const OPERATOR = /[~!@#^&|`?+\-*/%<>=]/;
const NAME_BYTES_MAX = 63;

export function lex(source: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (at < source.length) {
    const c = source[at] ?? '';
    if (BLANK.test(c)) {
      at++;
      continue;
    }
    const { token, end } = tokenAt(source, at, c);
    tokens.push(token);
    at = end;
  }
  tokens.push({ kind: 'end', text: '', at });
  return tokens;
}

function tokenAt(source: string, at: number, c: string): { token: Token; end: number } {
  if (c === "'") return quotedAt(source, at, "'", 'text');
  if (c === '"') return quotedAt(source, at, '"', 'quoted');
  if (/[A-Za-z_]/.test(c)) return wordAt(source, at);
  if (/[0-9]/.test(c) || (c === '.' && /[0-9]/.test(source[at + 1] ?? ''))) return numberAt(source, at);
  return symbolAt(source, at);
}

function quotedAt(
  source: string,
  at: number,
  quote: string,
  kind: 'text' | 'quoted',
): { token: Token; end: number } {
  let text = '';
  for (let i = at + 1; i < source.length; i++) {
    const c = source[i] ?? '';
    if (c === '\0') throw new ExpressionFault(i, 'a NUL character');
    if (c !== quote) text += c;
    else if (source[i + 1] === quote) {
      text += quote;
      i++;
    } else return { token: checked({ kind, text, at }), end: i + 1 };
  }
  throw new ExpressionFault(at, 'a quote that is not closed');
}

function checked(token: Token): Token {
  if (token.kind === 'text') return token;
  const bytes = Buffer.byteLength(token.text);
  if (bytes > 0 && bytes <= NAME_BYTES_MAX) return token;
  throw new ExpressionFault(token.at, `a name has 1 to ${NAME_BYTES_MAX} bytes`);
}

function wordAt(source: string, at: number): { token: Token; end: number } {
  const text = /^[A-Za-z_][A-Za-z0-9_$]*/.exec(source.slice(at))?.[0] ?? '';
  const next = source[at + text.length] ?? '';
  // E'…', B'…', X'…', N'…', U&'…' and names in letters whose lower case depends on the server.
  if (next === "'" || next === '"' || next === '&' || next > '\x7f')
    throw new ExpressionFault(
      at,
      'a name in other letters is to be quoted, and no prefix stands before a quote',
    );
  return { token: checked({ kind: 'word', text: text.toLowerCase(), at }), end: at + text.length };
}

function numberAt(source: string, at: number): { token: Token; end: number } {
  const text = /^(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?/.exec(source.slice(at))?.[0] ?? '';
  if (/[A-Za-z0-9_$.]/.test(source[at + text.length] ?? '') || (source[at + text.length] ?? '') > '\x7f')
    throw new ExpressionFault(at, 'not a decimal number');
  return { token: { kind: 'number', text, at }, end: at + text.length };
}

/** An operator is as long as it can be, but does not end in a minus (manual, 4.1.3): `=-1` is `=` and `-1`, `<-` too, `--` a comment. */
function symbolAt(source: string, at: number): { token: Token; end: number } {
  const text = SYMBOLS.find((symbol) => source.startsWith(symbol, at));
  if (text === undefined || source.startsWith('--', at))
    throw new ExpressionFault(at, 'a character that has no place in a filter');
  const end = at + text.length;
  const next = source[end] ?? '';
  const minus = next === '-' && text !== '!=' && !OPERATOR.test(source[end + 1] ?? '');
  if (OPERATOR.test(text) && OPERATOR.test(next) && !minus)
    throw new ExpressionFault(at, 'an operator that has no place in a filter');
  return { token: { kind: 'symbol', text: text === '!=' ? '<>' : text, at }, end };
}
