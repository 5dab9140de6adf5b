/**
 * Looks over the bytes of SQL for what matters to a pooler: statements that touch session state. Pure, one pass, no string.
 * It skips literals, quoted text and comments as PostgreSQL's scanner does with standard_conforming_strings = on (scan.l).
 * It is not a security boundary (row-level security with the signed context is): what it misses can only confuse its own tenant.
 */

/** Flags of {@link scanSql}; 0 means: nothing of interest, forward as it is. */
export const FLAG = {
  /** A SET, RESET, DISCARD, DEALLOCATE, PREPARE or CREATE: `statement-effects.ts` looks at the text. */
  effects: 1,
  listen: 2,
  temp: 4,
  advisory: 8,
  hold: 16,
  /** set_config() that is not plainly transaction-local. */
  setConfig: 32,
  /** A procedure call: might have touched settings. */
  call: 64,
  /** DO: might have done anything to the session. */
  anonymous: 128,
  /** Names an object that shows other sessions' statements. */
  forbidden: 256,
  /** set_config() of any kind: its name argument is checked by `statement-effects.ts`. */
  setConfigAny: 512,
} as const;

const IDENT = new Uint8Array(256);
for (let c = 0; c < 256; c++) {
  const ch = String.fromCharCode(c);
  if (/[A-Za-z_]/.test(ch) || c >= 0x80) IDENT[c] = 1;
  else if (/[0-9$]/.test(ch)) IDENT[c] = 2;
}

const QUOTE = 0x27;
const DOUBLE = 0x22;
const DASH = 0x2d;
const SLASH = 0x2f;
const STAR = 0x2a;
const DOLLAR = 0x24;
const SEMICOLON = 0x3b;
const BACKSLASH = 0x5c;

/** Offset behind the token that starts at `at` and is a literal, quoted identifier or comment; `at` when it is none of them. */
export function skipQuoted(b: Buffer, at: number, end: number): number {
  const c = b[at] ?? 0;
  if (c === QUOTE) return skipString(b, at, end, isEscapeString(b, at));
  if (c === DOUBLE) return skipPlain(b, at + 1, end, DOUBLE);
  if (c === DASH && b[at + 1] === DASH) {
    let p = at + 2;
    while (p < end && b[p] !== 0x0a && b[p] !== 0x0d) p++;
    return p;
  }
  if (c === SLASH && b[at + 1] === STAR) {
    let depth = 1;
    let p = at + 2;
    while (p < end && depth > 0) {
      if (b[p] === STAR && b[p + 1] === SLASH) {
        depth--;
        p += 2;
      } else if (b[p] === SLASH && b[p + 1] === STAR) {
        depth++;
        p += 2;
      } else p++;
    }
    return Math.min(p, end);
  }
  if (c === DOLLAR) {
    let p = at + 1;
    if (IDENT[b[p] ?? 0] === 1) while (p < end && b[p] !== DOLLAR && (IDENT[b[p] ?? 0] ?? 0) > 0) p++;
    if (b[p] !== DOLLAR || p >= end) return at;
    const tag = b.subarray(at, p + 1);
    const close = b.indexOf(tag, p + 1);
    return close === -1 || close + tag.length > end ? end : close + tag.length;
  }
  return at;
}

/** Whether the string that opens at `at` has the prefix E, so that backslashes escape in it. */
function isEscapeString(b: Buffer, at: number): boolean {
  const before = b[at - 1] ?? 0;
  return (before | 0x20) === 0x65 && (IDENT[b[at - 2] ?? 0] ?? 0) === 0;
}

function skipString(b: Buffer, at: number, end: number, escapes: boolean): number {
  if (!escapes) return skipPlain(b, at + 1, end, QUOTE);
  let p = at + 1;
  while (p < end) {
    const c = b[p];
    if (c === BACKSLASH) p += 2;
    else if (c === QUOTE) {
      if (b[p + 1] !== QUOTE) return p + 1;
      p += 2;
    } else p++;
  }
  return end;
}

function skipPlain(b: Buffer, from: number, end: number, quote: number): number {
  let p = from;
  while (p < end) {
    if (b[p] === quote) {
      if (b[p + 1] !== quote) return p + 1;
      p += 2;
    } else p++;
  }
  return end;
}

/** Case-insensitive comparison of a word with lower-case ASCII. */
function is(b: Buffer, from: number, to: number, word: string): boolean {
  if (to - from !== word.length) return false;
  for (let i = 0; i < word.length; i++) {
    let c = b[from + i] ?? 0;
    if (c >= 0x41 && c <= 0x5a) c |= 0x20;
    if (c !== word.charCodeAt(i)) return false;
  }
  return true;
}

function startsWith(b: Buffer, from: number, to: number, word: string): boolean {
  return to - from >= word.length && is(b, from, from + word.length, word);
}

/** @returns FLAG bits for the SQL in `b[start, end)`. */
export function scanSql(b: Buffer, start: number, end: number): number {
  let flags = 0;
  let leading = true;
  let previousFrom = 0;
  let previousTo = 0;
  let p = start;
  while (p < end) {
    const c = b[p] ?? 0;
    const kind = IDENT[c] ?? 0;
    if (kind === 1) {
      const from = p;
      do p++;
      while (p < end && (IDENT[b[p] ?? 0] ?? 0) > 0);
      if (leading) {
        leading = false;
        flags |= leadingFlags(b, from, p);
      } else {
        flags |= wordFlags(b, from, p, end, previousFrom, previousTo);
      }
      previousFrom = from;
      previousTo = p;
    } else if (kind === 2 && c !== DOLLAR) {
      leading = false;
      do p++;
      while (p < end && (IDENT[b[p] ?? 0] ?? 0) > 0);
    } else if (c === SEMICOLON) {
      leading = true;
      p++;
    } else if (c === QUOTE || c === DOUBLE || c === DASH || c === SLASH || c === DOLLAR) {
      const next = skipQuoted(b, p, end);
      if (c === DOUBLE && next > p) flags |= wordFlags(b, p + 1, next - 1, end, 0, 0);
      p = next > p ? next : p + 1;
    } else p++;
  }
  return flags;
}

function leadingFlags(b: Buffer, from: number, to: number): number {
  switch ((b[from] ?? 0) | 0x20) {
    case 0x73: // s
      return is(b, from, to, 'set') ? FLAG.effects : 0;
    case 0x72: // r
      return is(b, from, to, 'reset') ? FLAG.effects : 0;
    case 0x64: // d
      if (is(b, from, to, 'do')) return FLAG.anonymous;
      return is(b, from, to, 'discard') || is(b, from, to, 'deallocate') ? FLAG.effects : 0;
    case 0x70: // p
      return is(b, from, to, 'prepare') ? FLAG.effects : 0;
    case 0x6c: // l
      return is(b, from, to, 'listen') ? FLAG.listen : 0;
    case 0x63: // c
      return is(b, from, to, 'call') ? FLAG.call : 0;
    default:
      return 0;
  }
}

const SET_CONFIG_LOCAL = /^\s*\((?:[^'();]|'(?:[^']|'')*')*,\s*(?:true|'t'|'true')\s*\)/i;

function wordFlags(
  b: Buffer,
  from: number,
  to: number,
  end: number,
  previousFrom: number,
  previousTo: number,
): number {
  const length = to - from;
  switch ((b[from] ?? 0) | 0x20) {
    case 0x73: // s
      if (length === 10 && is(b, from, to, 'set_config')) {
        const behind = b.toString('latin1', b[to] === DOUBLE ? to + 1 : to, Math.min(end, to + 300));
        return SET_CONFIG_LOCAL.test(behind) ? FLAG.setConfigAny : FLAG.setConfigAny | FLAG.setConfig;
      }
      return 0;
    case 0x70: // p
      if (length < 7 || (b[from + 2] ?? 0) !== 0x5f) return 0;
      if (startsWith(b, from, to, 'pg_prepared_statement')) return FLAG.forbidden;
      if (startsWith(b, from, to, 'pg_temp')) return FLAG.temp;
      if (startsWith(b, from, to, 'pg_advisory_lock') || startsWith(b, from, to, 'pg_try_advisory_lock'))
        return FLAG.advisory;
      return 0;
    case 0x74: // t
      if (length !== 4 && length !== 9) return 0;
      if (!is(b, from, to, 'temp') && !is(b, from, to, 'temporary')) return 0;
      return ['create', 'into', 'local', 'global', 'replace'].some((word) =>
        is(b, previousFrom, previousTo, word),
      )
        ? FLAG.temp
        : 0;
    case 0x68: // h
      return length === 4 && is(b, from, to, 'hold') && is(b, previousFrom, previousTo, 'with')
        ? FLAG.hold
        : 0;
    default:
      return 0;
  }
}

/** Splits SQL into statements at top-level semicolons; offsets of each, without the semicolon. */
export function splitStatements(b: Buffer): { start: number; end: number }[] {
  const found: { start: number; end: number }[] = [];
  let start = 0;
  let p = 0;
  while (p < b.length) {
    if (b[p] === SEMICOLON) {
      found.push({ start, end: p });
      start = ++p;
    } else p = Math.max(p + 1, skipQuoted(b, p, b.length));
  }
  if (start < b.length) found.push({ start, end: b.length });
  return found;
}
