/**
 * Client to server. Walks whole messages in place; untouched runs are forwarded as they are, in one write. Only messages that name
 * prepared statements, or SQL that touches session state, are rewritten.
 */
import { cstringEnd } from '../protocol/assembler.ts';
import { CLOSE_COMPLETE, closeStatement, PARSE_COMPLETE, query } from '../protocol/builders.ts';
import { scanSql } from '../protocol/sql-scan.ts';
import type { ParseNote } from './client-statements.ts';
import { ENTRY } from './replies.ts';
import type { Session } from './session.ts';
import { judge, type Verdict } from './statement-effects.ts';
import type { Statement } from './statements.ts';

const Q = 0x51;
const P = 0x50;
const B = 0x42;
const D = 0x44;
const C = 0x43;
const E = 0x45;
const S = 0x53;
const H = 0x48;
const F = 0x46;
const X = 0x58;
const COPY_DATA = 0x64;
const COPY_DONE = 0x63;
const COPY_FAIL = 0x66;

export class ProtocolError extends Error {}

/** SQL that fails with the given error, so that transaction state and the order of replies are the server's own. */
export function refusalSql(code: string, text: string): string {
  const literal = `'${text.replaceAll("'", "''").replaceAll('$', '')}'`;
  return `DO $drover$BEGIN RAISE EXCEPTION USING ERRCODE = '${code}', MESSAGE = ${literal}; END$drover$`;
}

/** Forwards `b`, which holds whole messages, to the session's backend. @throws ProtocolError */
export function forward(s: Session, b: Buffer): void {
  const length = b.length;
  const out: Buffer[] = [];
  let from = 0;
  let segment = 0;
  let p = 0;
  const cut = (end: number, ...instead: readonly Buffer[]): void => {
    if (p > from) out.push(b.subarray(from, p));
    for (const piece of instead) out.push(piece);
    from = end;
  };
  while (p < length) {
    const type = b[p] ?? 0;
    const e = p + 1 + b.readUInt32BE(p + 1);
    if (s.skipping && type !== S && type !== X) {
      cut(e);
      p = e;
      continue;
    }
    switch (type) {
      case Q: {
        const flags = scanSql(b, p + 5, e - 1);
        let verdict: Verdict | null = null;
        if (flags !== 0) {
          verdict = judge(b.subarray(p + 5, Math.max(p + 5, e - 1)), flags, s);
          const sql = replacement(verdict);
          if (sql !== undefined) cut(e, query(sql));
          s.note(verdict);
        }
        s.statements.unnamed = null;
        s.segmentOpen = false;
        s.owe(ENTRY.query, verdict !== null && verdict.effects.length > 0 ? verdict.effects : undefined);
        s.journal.push(segment === 0 && e === length ? b : b.subarray(segment, e), true);
        segment = e;
        break;
      }
      case S:
        s.skipping = false;
        s.segmentOpen = false;
        if (!s.copyIn) s.owe(ENTRY.sync);
        s.journal.push(segment === 0 && e === length ? b : b.subarray(segment, e), true);
        segment = e;
        break;
      case P:
        s.segmentOpen = true;
        onParse(s, b, p, e, cut);
        break;
      case B: {
        s.segmentOpen = true;
        const portalEnd = cstringEnd(b, p + 5, e);
        const nameEnd = portalEnd === -1 ? -1 : cstringEnd(b, portalEnd + 1, e);
        if (nameEnd === -1) throw new ProtocolError('invalid Bind message');
        if (nameEnd === portalEnd + 1) {
          ensureUnnamed(s, cut, p, s.statements.unnamed?.verdict ?? null);
        } else {
          const named = s.statements.get(b.toString('utf8', portalEnd + 1, nameEnd));
          if (named !== undefined) {
            ensureNamed(s, named.statement, cut, p);
            if (named.verdict !== null) s.note(named.verdict);
            s.nextEffects = named.verdict?.effects;
            s.lastBound = named.statement;
            cut(nameEnd + 1, renamed(b, p, e, portalEnd, nameEnd, named.statement));
          }
        }
        s.owe(ENTRY.bind);
        break;
      }
      case D:
      case C: {
        s.segmentOpen = true;
        const isStatement = b[p + 5] === S;
        const nameEnd = cstringEnd(b, p + 6, e);
        if (nameEnd === -1) throw new ProtocolError('invalid Describe or Close message');
        if (type === D) onDescribe(s, b, p, e, isStatement, nameEnd, cut);
        else onClose(s, b, p, e, isStatement, nameEnd, cut);
        break;
      }
      case E:
        s.segmentOpen = true;
        s.owe(ENTRY.execute, s.nextEffects);
        s.nextEffects = undefined;
        break;
      case H:
        break;
      case COPY_DATA:
        s.journal.break();
        break;
      case COPY_DONE:
      case COPY_FAIL:
        if (s.copyIn) s.copyIn = false;
        else if (!s.replies.empty) s.owe(ENTRY.copyEnd);
        break;
      case F:
        cut(
          e,
          query(refusalSql('0A000', 'function calls by message are not supported through the front door')),
        );
        s.segmentOpen = false;
        s.owe(ENTRY.query);
        break;
      case X:
        if (p > from) out.push(b.subarray(from, p));
        if (out.length > 0) s.toBackend(out);
        s.clientLeft();
        return;
      default:
        throw new ProtocolError(`invalid frontend message type ${type}`);
    }
    p = e;
  }
  if (segment < length) s.journal.push(segment === 0 ? b : b.subarray(segment), false);
  if (from === 0 && out.length === 0) s.toBackendOne(b);
  else {
    if (from < length) out.push(b.subarray(from));
    if (out.length > 0) s.toBackend(out);
  }
}

type Cut = (end: number, ...instead: readonly Buffer[]) => void;

function replacement(verdict: Verdict): string | undefined {
  return verdict.refusal === undefined
    ? verdict.sql
    : refusalSql(verdict.refusal.code, verdict.refusal.message);
}

function onParse(s: Session, b: Buffer, p: number, e: number, cut: Cut): void {
  const nameEnd = cstringEnd(b, p + 5, e);
  const textEnd = nameEnd === -1 ? -1 : cstringEnd(b, nameEnd + 1, e);
  if (textEnd === -1) throw new ProtocolError('invalid Parse message');
  const flags = scanSql(b, nameEnd + 1, textEnd);
  const verdict = flags === 0 ? null : judge(b.subarray(nameEnd + 1, textEnd), flags, s);
  const sql = verdict === null ? undefined : replacement(verdict);
  if (nameEnd === p + 5) {
    let message = b.subarray(p, e);
    if (sql !== undefined) {
      message = rebuilt(b, nameEnd, textEnd, e, sql);
      cut(e, message);
    }
    s.statements.unnamed = { message, verdict, owned: sql !== undefined };
    if (s.backend !== null) s.backend.unnamed = s.statements.unnamed;
    s.owe(ENTRY.parse, { name: '', statement: null, onBackend: false } satisfies ParseNote);
    return;
  }
  const name = b.toString('utf8', p + 5, nameEnd);
  const existing = s.statements.get(name);
  if (existing?.confirmed === true && !s.replaying) {
    // The name is taken: PostgreSQL itself says so (42P05) when it is asked for the same name again.
    ensureNamed(s, existing.statement, cut, p);
    cut(e, existing.statement.parse);
    s.owe(ENTRY.parse);
    return;
  }
  const body =
    sql === undefined ? b.subarray(nameEnd + 1, e) : rebuilt(b, nameEnd, textEnd, e, sql).subarray(6);
  const statement = s.statements.define(
    name,
    body,
    sql === undefined ? textEnd - nameEnd - 1 : Buffer.byteLength(sql),
    verdict,
  );
  if (s.backend?.prepared.has(statement) === true) {
    cut(e);
    s.oweLocal(ENTRY.localParse, PARSE_COMPLETE, { name, statement, onBackend: false } satisfies ParseNote);
  } else {
    prepareOn(s, statement, cut, p);
    cut(e, statement.parse);
    s.owe(ENTRY.parse, { name, statement, onBackend: true } satisfies ParseNote);
  }
}

/** A Parse message for the unnamed statement with other SQL. */
function rebuilt(b: Buffer, _nameEnd: number, textEnd: number, e: number, sql: string): Buffer {
  const text = Buffer.from(sql);
  const out = Buffer.allocUnsafe(5 + 1 + text.length + 1 + (e - textEnd - 1));
  out[0] = P;
  out.writeUInt32BE(out.length - 1, 1);
  out[5] = 0;
  text.copy(out, 6);
  out[6 + text.length] = 0;
  b.copy(out, 7 + text.length, textEnd + 1, e);
  return out;
}

/** The head of a Bind with the server-side statement name; the rest of the message follows unchanged. */
function renamed(
  b: Buffer,
  p: number,
  e: number,
  portalEnd: number,
  nameEnd: number,
  statement: Statement,
): Buffer {
  const { serverName } = statement;
  const portal = portalEnd - (p + 5) + 1;
  const head = Buffer.allocUnsafe(5 + portal + serverName.length + 1);
  head[0] = B;
  head.writeUInt32BE(head.length - 1 + (e - nameEnd - 1), 1);
  b.copy(head, 5, p + 5, portalEnd + 1);
  head.write(serverName, 5 + portal, 'latin1');
  head[head.length - 1] = 0;
  return head;
}

/** Room for one more statement on the backend, and a stale one of the same name out of the way. */
function prepareOn(s: Session, statement: Statement, cut: Cut, p: number): void {
  const { backend } = s;
  if (backend === null) return;
  const evicted = backend.prepared.add(statement);
  for (const old of [evicted, backend.stale.delete(statement) ? statement : undefined]) {
    if (old === undefined) continue;
    cut(p, closeStatement(old.serverName));
    s.oweOwn(ENTRY.close);
  }
}

function ensureNamed(s: Session, statement: Statement, cut: Cut, p: number): void {
  if (s.backend === null || s.backend.prepared.has(statement)) return;
  prepareOn(s, statement, cut, p);
  cut(p, statement.parse);
  s.oweOwn(ENTRY.parse, { name: null, statement, onBackend: true } satisfies ParseNote);
}

function ensureUnnamed(s: Session, cut: Cut, p: number, verdict: Verdict | null): void {
  const { backend } = s;
  const { unnamed } = s.statements;
  if (verdict !== null) s.note(verdict);
  s.nextEffects = verdict?.effects;
  s.lastBound = null;
  if (backend === null || unnamed === null || backend.unnamed === unnamed) return;
  cut(p, unnamed.message);
  backend.unnamed = unnamed;
  s.oweOwn(ENTRY.parse, { name: '', statement: null, onBackend: false } satisfies ParseNote);
}

function onDescribe(
  s: Session,
  b: Buffer,
  p: number,
  e: number,
  isStatement: boolean,
  nameEnd: number,
  cut: Cut,
): void {
  if (isStatement) {
    if (nameEnd === p + 6) ensureUnnamed(s, cut, p, null);
    else {
      const named = s.statements.get(b.toString('utf8', p + 6, nameEnd));
      if (named !== undefined) {
        ensureNamed(s, named.statement, cut, p);
        const describe = closeStatement(named.statement.serverName);
        describe[0] = D;
        cut(e, describe);
      }
    }
  }
  s.owe(ENTRY.describe);
}

function onClose(
  s: Session,
  b: Buffer,
  p: number,
  e: number,
  isStatement: boolean,
  nameEnd: number,
  cut: Cut,
): void {
  if (isStatement && nameEnd > p + 6 && s.statements.forget(b.toString('utf8', p + 6, nameEnd))) {
    cut(e);
    s.oweLocal(ENTRY.localClose, CLOSE_COMPLETE);
    return;
  }
  if (isStatement && nameEnd === p + 6) s.statements.unnamed = null;
  s.owe(ENTRY.close);
}
