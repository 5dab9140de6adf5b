/**
 * ErrorResponse of a walsender, and what it means for the reader. Decided by SQLSTATE and by when it came; the text
 * only tells apart what PostgreSQL gives one code. Pure.
 */
import { DroverError, type ErrorCode } from '@drover/core';
import { classifyPgError } from '../classify.ts';
import { cstringEnd } from '../pgoutput/bytes.ts';

/** As the server sent it. Named like the errors of `pg`, so that classifyPgError knows it. */
export class ServerError extends Error {
  readonly severity: string;
  readonly code: string;
  readonly detail: string;

  constructor(severity: string, code: string, message: string, detail: string) {
    super(message);
    this.name = 'ServerError';
    this.severity = severity;
    this.code = code;
    this.detail = detail;
  }
}

/** Fields of an ErrorResponse: Int8 name, String value, and a zero at the end (manual, 54.8). */
export function parseServerError(bytes: Buffer, start: number, end: number): ServerError {
  const fields = new Map<string, string>();
  for (let at = start; at < end && bytes[at] !== 0; ) {
    const stop = cstringEnd(bytes, at + 1, end);
    fields.set(String.fromCharCode(bytes.readUInt8(at)), bytes.toString('utf8', at + 1, stop));
    at = stop + 1;
  }
  return new ServerError(
    fields.get('V') ?? fields.get('S') ?? 'ERROR',
    fields.get('C') ?? 'XX000',
    fields.get('M') ?? 'unknown error',
    fields.get('D') ?? '',
  );
}

/** `starting`: START_REPLICATION was refused; `streaming`: the error came later. */
export type StreamPhase = 'starting' | 'streaming';

export function streamError(error: ServerError, phase: StreamPhase, slot: string): DroverError {
  const build = (code: ErrorCode, message: string, more: Record<string, unknown> = {}, hint?: string) =>
    new DroverError(code, message, {
      facts: {
        slot,
        sqlstate: error.code,
        ...(error.detail === '' ? {} : { detail: error.detail }),
        ...more,
      },
      cause: error,
      ...(hint === undefined ? {} : { hint }),
    });
  switch (error.code) {
    case '55006': {
      const pid = /\bPID (\d+)/.exec(error.message)?.[1];
      return slotActive(slot, pid === undefined ? null : Number(pid), error);
    }
    case '42704':
      if (phase === 'starting') return slotMissing(slot, error);
      return build('pg.not_set_up', 'the publication is missing', {}, 'run `drover setup`');
    case '55000':
      if (/can no longer|invalidated/.test(`${error.message} ${error.detail}`)) {
        return slotLost(slot, null, error);
      }
      return build('pg.not_set_up', 'the slot cannot be read');
    case '54000':
      if (phase === 'starting') break;
      return build(
        'pg.stream',
        'a row is larger than PostgreSQL can send (1 GB)',
        {},
        'no change behind it can be read: make the row smaller or delete it, run `drover setup --resync`, then copy the tenants of this cluster anew',
      );
    default:
  }
  const { kind } = classifyPgError(error);
  if (kind === 'connection' || kind === 'starting' || kind === 'resource') {
    return build('pg.unreachable', 'PostgreSQL ended the replication stream');
  }
  if (kind === 'auth' || error.code === '42501') return build('pg.auth', 'PostgreSQL refused replication');
  return build('pg.stream', 'PostgreSQL reported an error in the replication stream');
}

export function slotActive(slot: string, pid: number | null, cause?: unknown): DroverError {
  return new DroverError(
    'pg.slot_active',
    `replication slot ${slot} is held by backend ${pid ?? 'unknown'}`,
    {
      facts: { slot, pid },
      cause,
    },
  );
}

export function slotMissing(slot: string, cause?: unknown): DroverError {
  return new DroverError('pg.slot_missing', `replication slot ${slot} does not exist`, {
    hint: 'what is written meanwhile is in no stream: run `drover setup --resync`, then copy the tenants of this cluster anew',
    facts: { slot },
    cause,
  });
}

export function slotLost(slot: string, reason: string | null, cause?: unknown): DroverError {
  return new DroverError(
    'pg.slot_lost',
    `replication slot ${slot} was invalidated${reason === null ? '' : `: ${reason}`}`,
    {
      hint: 'run `drover setup --resync`, then copy the tenants of this cluster anew',
      facts: { slot, reason },
      cause,
    },
  );
}
