/**
 * Messages the proxy itself sends, to clients and to servers. Pure. Layouts: PostgreSQL manual, "Message Formats".
 */

/** One message: type byte, length, body. */
export function message(type: string, ...body: readonly (Buffer | string)[]): Buffer {
  const parts = body.map((part) => (typeof part === 'string' ? cstring(part) : part));
  const size = parts.reduce((sum, part) => sum + part.length, 4);
  const head = Buffer.allocUnsafe(5);
  head[0] = type.charCodeAt(0);
  head.writeUInt32BE(size, 1);
  return Buffer.concat([head, ...parts], size + 1);
}

export function cstring(text: string): Buffer {
  return Buffer.from(`${text.replaceAll('\0', '')}\0`);
}

export function int32(value: number): Buffer {
  const out = Buffer.allocUnsafe(4);
  out.writeInt32BE(value | 0);
  return out;
}

export function int16(value: number): Buffer {
  const out = Buffer.allocUnsafe(2);
  out.writeInt16BE(value);
  return out;
}

export interface WireError {
  readonly severity: 'ERROR' | 'FATAL';
  /** SQLSTATE, five characters. */
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
  readonly detail?: string;
}

export function errorResponse(error: WireError): Buffer {
  return message(
    'E',
    `S${error.severity}`,
    `V${error.severity}`,
    `C${error.code}`,
    `M${error.message}`,
    ...(error.detail === undefined ? [] : [`D${error.detail}`]),
    ...(error.hint === undefined ? [] : [`H${error.hint}`]),
    Buffer.alloc(1),
  );
}

export const READY_IDLE = message('Z', Buffer.from('I'));
export const PARSE_COMPLETE = message('1');
export const CLOSE_COMPLETE = message('3');
export const SYNC = message('S');
export const TERMINATE = message('X');
export const AUTHENTICATION_OK = message('R', int32(0));

export const authenticationSasl = (mechanisms: readonly string[]): Buffer =>
  message('R', int32(10), ...mechanisms, Buffer.alloc(1));
export const authenticationSaslContinue = (text: string): Buffer =>
  message('R', int32(11), Buffer.from(text));
export const authenticationSaslFinal = (text: string): Buffer => message('R', int32(12), Buffer.from(text));
export const parameterStatus = (name: string, value: string): Buffer => message('S', name, value);
export const backendKeyData = (pid: number, secret: Buffer): Buffer => message('K', int32(pid), secret);
export const query = (sql: string): Buffer => message('Q', sql);

/** Newest minor version spoken, and the `_pq_.` options that were not understood. */
export function negotiateProtocolVersion(minor: number, options: readonly string[]): Buffer {
  return message('v', int32(minor), int32(options.length), ...options);
}

/** Parse of a statement without parameter types. */
export const parse = (name: string, sql: string): Buffer => message('P', name, sql, int16(0));
/** Close of a named statement. */
export const closeStatement = (name: string): Buffer => message('C', Buffer.from('S'), name);

const EXECUTE_SYNC = Buffer.concat([message('E', '', int32(0)), SYNC]);

/** Bind, Execute, Sync of a statement with two text parameters, in one piece: sent whenever a backend changes its tenant. */
export function contextQuery(statement: string, context: string, seed: string): Buffer {
  const name = statement.length;
  const first = Buffer.byteLength(context);
  const size = 4 + 1 + name + 1 + 2 + 2 + 4 + first + 4 + seed.length + 2;
  const out = Buffer.allocUnsafe(1 + size + EXECUTE_SYNC.length);
  out[0] = 0x42;
  let p = out.writeUInt32BE(size, 1);
  out[p++] = 0; // the unnamed portal
  p += out.write(statement, p, 'latin1');
  out[p++] = 0;
  p = out.writeInt16BE(0, p); // all parameters are text
  p = out.writeInt16BE(2, p);
  p = out.writeInt32BE(first, p);
  p += out.write(context, p, 'utf8');
  p = out.writeInt32BE(seed.length, p);
  p += out.write(seed, p, 'latin1');
  p = out.writeInt16BE(0, p); // all results are text
  EXECUTE_SYNC.copy(out, p);
  return out;
}

/** StartupMessage of protocol 3.0. */
export function startup(parameters: Readonly<Record<string, string>>): Buffer {
  const body = Object.entries(parameters).flatMap(([name, value]) => [cstring(name), cstring(value)]);
  const size = body.reduce((sum, part) => sum + part.length, 9);
  return Buffer.concat([int32(size), int32(196_608), ...body, Buffer.alloc(1)], size);
}

export const SSL_REQUEST = Buffer.concat([int32(8), int32(80_877_103)]);
export const cancelRequest = (pid: number, secret: Buffer): Buffer =>
  Buffer.concat([int32(12 + secret.length), int32(80_877_102), int32(pid), secret]);
