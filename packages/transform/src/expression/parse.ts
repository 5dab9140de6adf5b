/**
 * Text to tree. No functions, no casts, no arithmetic, no sub-selects; bounded in length, depth and number of parts. Where PostgreSQL's
 * precedences could surprise (chains of comparisons, IS behind a comparison) parentheses are asked for.
 */
import { lex, type Token } from './lex.ts';
import { literalAt, TYPED_LITERALS } from './literals.ts';
import {
  type Column,
  type CompareOp,
  type Expr,
  ExpressionFault,
  FALSE,
  type Fault,
  type Literal,
  type Operand,
  TRUE,
  type Truth,
  UNKNOWN,
} from './types.ts';

export const LENGTH_MAX = 4096;
const DEPTH_MAX = 32;
const PARTS_MAX = 256;
const LIST_MAX = 100;

const COMPARE: readonly string[] = ['=', '<>', '<', '<=', '>', '>='];
/** Words that mean something here or could in PostgreSQL at this place: as names of columns they must be quoted. */
const RESERVED = new Set(
  (
    'all analyse analyze and any array as asc asymmetric authorization between binary both case cast check collate collation column ' +
    'concurrently constraint create cross current_catalog current_date current_role current_schema current_time current_timestamp ' +
    'current_user default deferrable desc distinct do else end except exists extract false fetch for foreign freeze from full grant ' +
    'group having ilike in initially inner intersect interval into is isnull join lateral leading left like limit localtime ' +
    'localtimestamp natural not notnull null offset on only or order outer overlaps placing position primary references returning ' +
    'right row select session_user similar some symmetric system_user table tablesample then to trailing true union unique unknown user ' +
    'using variadic verbose when where window with coalesce greatest least nullif trim substring overlay'
  ).split(' '),
);

export type Parsed =
  | { readonly ok: true; readonly expr: Expr }
  | { readonly ok: false; readonly fault: Fault };

export function parseExpression(source: string): Parsed {
  try {
    if (source.length > LENGTH_MAX)
      throw new ExpressionFault(LENGTH_MAX, `longer than ${LENGTH_MAX} characters`);
    return { ok: true, expr: new Parser(lex(source)).whole() };
  } catch (error) {
    if (error instanceof ExpressionFault) return { ok: false, fault: error.fault };
    throw error;
  }
}

class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;
  #parts = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  whole(): Expr {
    const expr = this.#or();
    if (this.#token.kind !== 'end') throw this.#fault('AND, OR or the end was expected');
    return expr;
  }

  #or(): Expr {
    return this.#chain('or', () => this.#chain('and', () => this.#not()));
  }

  #chain(kind: 'and' | 'or', part: () => Expr): Expr {
    const of = [part()];
    while (this.#take(kind)) of.push(part());
    return of.length === 1 && of[0] !== undefined ? of[0] : { kind, of };
  }

  #not(): Expr {
    if (!this.#take('not')) return this.#test();
    return this.#deeper(() => ({ kind: 'not', of: this.#not() }));
  }

  /** Comparison, IN, LIKE, IS …, a condition in parentheses, or a boolean. */
  #test(): Expr {
    if (++this.#parts > PARTS_MAX) throw this.#fault(`more than ${PARTS_MAX} parts`);
    if (this.#take('(')) {
      const inner = this.#deeper(() => this.#or());
      this.#need(')');
      return this.#isTests(inner);
    }
    const left = this.#operand();
    const { text, kind } = this.#token;
    if (kind === 'symbol' && COMPARE.includes(text)) {
      this.#at++;
      const compare: Expr = { kind: 'compare', op: text as CompareOp, left, right: this.#operand() };
      return this.#alone(compare);
    }
    const not = this.#peekNot();
    if (this.#take('in'))
      return this.#alone({ kind: 'in', column: this.#column(left), list: this.#list(), not });
    if (this.#take('like'))
      return this.#alone({ kind: 'like', column: this.#column(left), pattern: this.#pattern(), not });
    if (not) throw this.#fault('IN or LIKE was expected behind NOT');
    return this.#isTests({ kind: 'bool', of: left });
  }

  #list(): Literal[] {
    this.#need('(');
    const list = [this.#literal()];
    while (this.#take(',')) list.push(this.#literal());
    this.#need(')');
    if (list.length > LIST_MAX) throw this.#fault(`more than ${LIST_MAX} values`);
    return list;
  }

  #pattern(): Literal {
    const literal = this.#literal();
    if (literal.kind !== 'text') throw new ExpressionFault(literal.at, "LIKE needs a text, as in 'abc%'");
    return literal;
  }

  /** Any number of IS tests, of which the first may be IS NULL of a column. */
  #isTests(of: Expr): Expr {
    let expr = of;
    while (this.#take('is')) {
      const not = this.#take('not');
      const column = expr.kind === 'bool' && expr.of.kind === 'column' ? expr.of : null;
      if (this.#take('null'))
        expr = column === null ? { kind: 'is', of: expr, is: UNKNOWN, not } : { kind: 'isNull', column, not };
      else expr = { kind: 'is', of: expr, is: this.#truth(), not };
      if (++this.#parts > PARTS_MAX) throw this.#fault(`more than ${PARTS_MAX} parts`);
    }
    return this.#alone(expr);
  }

  #truth(): Truth {
    if (this.#take('true')) return TRUE;
    if (this.#take('false')) return FALSE;
    if (this.#take('unknown')) return UNKNOWN;
    throw this.#fault('NULL, TRUE, FALSE or UNKNOWN was expected behind IS');
  }

  #alone(expr: Expr): Expr {
    const { kind, text } = this.#token;
    const ends = kind === 'end' || text === ')' || (kind === 'word' && (text === 'and' || text === 'or'));
    if (!ends) throw this.#fault('AND, OR or the end was expected; conditions can be put in parentheses');
    return expr;
  }

  #operand(): Operand {
    const token = this.#token;
    if (
      token.kind === 'quoted' ||
      (token.kind === 'word' && !RESERVED.has(token.text) && !this.#typedLiteral())
    ) {
      this.#at++;
      if (this.#token.text === '(' && this.#token.kind === 'symbol')
        throw new ExpressionFault(token.at, 'functions cannot be called in a filter');
      return { kind: 'column', name: token.text, at: token.at };
    }
    return this.#literal();
  }

  #typedLiteral(): boolean {
    const next = this.#tokens[this.#at + 1];
    return TYPED_LITERALS.has(this.#token.text) && next?.kind === 'text';
  }

  #literal(): Literal {
    const { literal, next } = literalAt(this.#tokens, this.#at);
    this.#at = next;
    return literal;
  }

  #column(operand: Operand): Column {
    if (operand.kind === 'column') return operand;
    throw new ExpressionFault(operand.at, 'the name of a column was expected');
  }

  #deeper<T>(work: () => T): T {
    if (++this.#depth > DEPTH_MAX) throw this.#fault(`nested more than ${DEPTH_MAX} deep`);
    const result = work();
    this.#depth--;
    return result;
  }

  get #token(): Token {
    return this.#tokens[this.#at] ?? { kind: 'end', text: '', at: 0 };
  }

  /** `NOT` before IN or LIKE. */
  #peekNot(): boolean {
    return this.#take('not');
  }

  #take(text: string): boolean {
    const { kind, text: found } = this.#token;
    if ((kind !== 'word' && kind !== 'symbol') || found !== text) return false;
    this.#at++;
    return true;
  }

  #need(text: string): void {
    if (!this.#take(text)) throw this.#fault(`"${text}" was expected`);
  }

  #fault(wrong: string): ExpressionFault {
    return new ExpressionFault(this.#token.at, wrong);
  }
}
