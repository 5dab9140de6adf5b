/**
 * What a statement that touches session state means to a client whose backends change. Pure. The text is judged statement by statement:
 * some are recorded and replayed elsewhere, some are replaced by a harmless statement and emulated, some bind the client to its backend, a few are refused.
 */
import { FLAG, scanSql, skipQuoted, splitStatements } from '../protocol/sql-scan.ts';
import { refusalSql } from './statement-messages.ts';

export type Effect =
  /** Setting `key` now has the value that `sql` gives it. */
  | { readonly kind: 'set'; readonly key: string; readonly sql: string }
  /** Setting `key` is back at what the client asked for at login, or the default. */
  | { readonly kind: 'reset'; readonly key: string }
  | { readonly kind: 'resetAll' }
  | { readonly kind: 'discardAll' }
  /** null: all prepared statements. */
  | { readonly kind: 'deallocate'; readonly name: string | null };

export type PinReason = 'listen' | 'temp' | 'advisory' | 'hold' | 'prepare' | 'set' | 'set_config';

export interface Verdict {
  /** SQL to send instead; undefined: as it came. */
  readonly sql?: string;
  readonly effects: readonly Effect[];
  readonly pins: readonly PinReason[];
  /** The context must be asserted again before the next transaction. */
  readonly dirty: boolean;
  /** The backend is closed after this transaction. */
  readonly taints: boolean;
  readonly refusal?: { readonly code: string; readonly message: string };
}

/** SQL to send in place of what was judged: the refusal, or the emulation; undefined: as it came. */
export function replacementOf(verdict: Verdict): string | undefined {
  return verdict.refusal === undefined
    ? verdict.sql
    : refusalSql(verdict.refusal.code, verdict.refusal.message);
}

export interface EffectsContext {
  /** Whether the client has a (protocol level) prepared statement of this name. */
  hasStatement(name: string): boolean;
  /** SQL that sets what the client asked for at login, if it did. */
  startupSetting(key: string): string | undefined;
}

/** Does nothing, costs little and is tagged RESET: stands in for what is emulated. */
const NOTHING = 'RESET drover.nothing';

const NAME = String.raw`("(?:[^"]|"")+"|[a-z_\x80-\uffff][\w$\x80-\uffff]*)`;
const SETTING = new RegExp(`^${NAME}(?:\\s*\\.\\s*${NAME})?`, 'i');

const unquote = (name: string): string =>
  name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name.toLowerCase();

/** Settings that belong to the proxy, with the values that change nothing. */
const PROTECTED: ReadonlyMap<string, RegExp> = new Map([
  ['client_encoding', /^(utf-?8|unicode|default)$/i],
  ['standard_conforming_strings', /^(on|true|yes|1|default)$/i],
  ['row_security', /^(on|true|yes|1|default)$/i],
  ['role', /^(none|default)$/i],
  ['session_authorization', /^default$/i],
]);

/** Why the setting may not take the value; null when it may. `value` is SQL text or undefined when unknown. */
export function protectedSetting(key: string, value: string | undefined): string | null {
  if (key.startsWith('drover.')) return `"${key}" belongs to the front door and cannot be changed`;
  const allowed = PROTECTED.get(key);
  if (allowed === undefined) return null;
  const plain = value?.trim().replace(/^'(.*)'$/s, '$1');
  return plain !== undefined && allowed.test(plain)
    ? null
    : `"${key}" cannot be changed to this value through the front door`;
}

export function isProtected(key: string): boolean {
  return PROTECTED.has(key) || key.startsWith('drover.');
}

interface Judged {
  readonly replacement?: string;
  readonly effect?: Effect;
  readonly pin?: PinReason;
  readonly refusal?: { code: string; message: string };
}

/** @param flags of scanSql for this text; not 0. */
export function judge(text: Buffer, flags: number, context: EffectsContext): Verdict {
  const pins: PinReason[] = [];
  const effects: Effect[] = [];
  let sql: string | undefined;
  let refusal: { code: string; message: string } | undefined;
  if ((flags & FLAG.forbidden) !== 0) {
    refusal = { code: '42501', message: 'permission denied for view pg_prepared_statements' };
  }
  if ((flags & FLAG.listen) !== 0) pins.push('listen');
  if ((flags & FLAG.temp) !== 0) pins.push('temp');
  if ((flags & FLAG.advisory) !== 0) pins.push('advisory');
  if ((flags & FLAG.hold) !== 0) pins.push('hold');
  if ((flags & FLAG.setConfigAny) !== 0) {
    const why = judgeSetConfig(text.toString('utf8'));
    if (why !== null) refusal ??= { code: '42501', message: why };
    else if ((flags & FLAG.setConfig) !== 0) pins.push('set_config');
  }
  if ((flags & FLAG.effects) !== 0) {
    const statements = splitStatements(text);
    const alone = statements.filter(({ start, end }) => bare(text, start, end) !== '').length === 1;
    const parts: string[] = [];
    let replaced = false;
    for (const { start, end } of statements) {
      const judged = judgeOne(bare(text, start, end), alone, context);
      if (judged.effect !== undefined) effects.push(judged.effect);
      if (judged.pin !== undefined && !pins.includes(judged.pin)) pins.push(judged.pin);
      refusal ??= judged.refusal;
      replaced ||= judged.replacement !== undefined;
      parts.push(judged.replacement ?? text.toString('utf8', start, end));
    }
    if (replaced) sql = parts.join(';');
  }
  return {
    ...(sql === undefined ? {} : { sql }),
    effects,
    pins,
    dirty: (flags & (FLAG.call | FLAG.setConfig)) !== 0,
    taints: (flags & FLAG.anonymous) !== 0,
    ...(refusal === undefined ? {} : { refusal }),
  };
}

/** The statement with comments replaced by a blank, trimmed. */
function bare(text: Buffer, start: number, end: number): string {
  const parts: Buffer[] = [];
  let from = start;
  let p = start;
  while (p < end) {
    const next = skipQuoted(text, p, end);
    if (next > p && (text[p] === 0x2d || text[p] === 0x2f)) {
      parts.push(text.subarray(from, p), Buffer.from(' '));
      from = next;
    }
    p = Math.max(p + 1, next);
  }
  parts.push(text.subarray(from, end));
  return Buffer.concat(parts).toString('utf8').trim();
}

function judgeSetConfig(text: string): string | null {
  for (const match of text.matchAll(/set_config"?\s*\(\s*'((?:[^']|'')*)'\s*,\s*('(?:[^']|'')*')?/gi)) {
    const why = protectedSetting((match[1] ?? '').toLowerCase(), match[2]);
    if (why !== null) return why;
  }
  return null;
}

function judgeOne(statement: string, alone: boolean, context: EffectsContext): Judged {
  const [verb = '', ...rest] = statement.split(/\s+/, 3).map((word) => word.toLowerCase());
  const tail = statement.slice(verb.length).trim();
  switch (verb) {
    case 'set':
      return judgeSet(tail, alone, context);
    case 'reset':
      return judgeReset(tail, alone, context);
    case 'discard':
      if (rest[0] === 'all') {
        return alone
          ? { replacement: NOTHING, effect: { kind: 'discardAll' } }
          : { refusal: { code: '25001', message: 'DISCARD ALL cannot run inside a transaction block' } };
      }
      return rest[0] === 'sequences' ? { replacement: NOTHING } : {};
    case 'deallocate': {
      const name = tail.replace(/^prepare\s+/i, '');
      if (/^all$/i.test(name)) return { replacement: NOTHING, effect: { kind: 'deallocate', name: null } };
      const plain = unquote(name);
      return context.hasStatement(plain) || plain.startsWith('_drover_')
        ? { replacement: NOTHING, effect: { kind: 'deallocate', name: plain } }
        : {};
    }
    case 'prepare':
      return rest[0] === 'transaction'
        ? {
            refusal: {
              code: '0A000',
              message: 'PREPARE TRANSACTION is not supported through the front door',
            },
          }
        : { pin: 'prepare' };
    default:
      return {};
  }
}

function judgeSet(tail: string, alone: boolean, context: EffectsContext): Judged {
  const local = /^local\s+/i.test(tail);
  const body = tail.replace(/^(local|session)\s+(?!authorization\b|characteristics\b)/i, '');
  if (/^(transaction|constraints)\b/i.test(body)) return {};
  if (/^session\s+characteristics\b/i.test(body) || /^xml\b/i.test(body)) return { pin: 'set' };
  const special = /^(role|session\s+authorization|names|time\s+zone|schema)\s*(.*)$/is.exec(body);
  let key: string;
  let value: string;
  if (special !== null && !/^(to\b|=)/i.test(special[2] ?? '')) {
    const word = (special[1] ?? '').toLowerCase().replace(/\s+/, '_');
    key =
      {
        role: 'role',
        session_authorization: 'session_authorization',
        names: 'client_encoding',
        time_zone: 'timezone',
        schema: 'search_path',
      }[word] ?? word;
    value = special[2] ?? '';
  } else {
    const name = SETTING.exec(body);
    const assigned = name === null ? null : /^\s*(?:=|to\b)\s*(.*)$/is.exec(body.slice(name[0].length));
    if (name === null || assigned === null) return { pin: 'set' };
    key = unquote(name[1] ?? '') + (name[2] === undefined ? '' : `.${unquote(name[2])}`);
    value = assigned[1] ?? '';
  }
  if (isProtected(key)) {
    const why = protectedSetting(key, value);
    return why === null ? {} : { refusal: { code: '42501', message: why } };
  }
  if (local) return {};
  if (/^default$/i.test(value.trim())) return resetTo(key, alone, context);
  if (!alone) return { pin: 'set' };
  return { effect: { kind: 'set', key, sql: `SET ${body}` } };
}

function judgeReset(tail: string, alone: boolean, context: EffectsContext): Judged {
  if (/^all$/i.test(tail)) return { replacement: NOTHING, effect: { kind: 'resetAll' } };
  if (/^session\s+authorization$/i.test(tail)) return {};
  const name = /^time\s+zone$/i.test(tail) ? ['', 'timezone', undefined] : SETTING.exec(tail);
  if (name === null) return { pin: 'set' };
  const key = unquote(name[1] ?? '') + (name[2] === undefined ? '' : `.${unquote(name[2])}`);
  if (key.startsWith('drover.'))
    return { refusal: { code: '42501', message: protectedSetting(key, undefined) ?? '' } };
  if (isProtected(key)) return {};
  return resetTo(key, alone, context);
}

/** Back to what the client asked for at login, or to the default. */
function resetTo(key: string, alone: boolean, context: EffectsContext): Judged {
  const wanted = context.startupSetting(key);
  return {
    ...(wanted === undefined ? {} : { replacement: wanted }),
    ...(alone || wanted === undefined
      ? { effect: { kind: 'reset', key } as const }
      : { pin: 'set' as const }),
  };
}

/** Judges SQL text: null when nothing in it matters. */
export function judgeSql(text: Buffer, context: EffectsContext): Verdict | null {
  const flags = scanSql(text, 0, text.length);
  return flags === 0 ? null : judge(text, flags, context);
}
