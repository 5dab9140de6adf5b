/**
 * Reads what the proxy must understand of the server's messages. Pure, and defensive: a malformed message gives empty
 * fields, never an exception (a server that sends an ErrorResponse without SQLSTATE once crashed a pooler).
 */
export interface ErrorFields {
  readonly severity: string;
  readonly code: string;
  readonly message: string;
  readonly detail: string | undefined;
  readonly hint: string | undefined;
}

/** @param start offset of the message's type byte. */
export function errorFields(bytes: Buffer, start: number, end: number): ErrorFields {
  const found = new Map<string, string>();
  let at = start + 5;
  while (at < end && bytes[at] !== 0) {
    const stop = bytes.indexOf(0, at + 1);
    if (stop === -1 || stop >= end) break;
    found.set(String.fromCharCode(bytes[at] ?? 0), bytes.toString('utf8', at + 1, stop));
    at = stop + 1;
  }
  return {
    severity: found.get('V') ?? found.get('S') ?? 'ERROR',
    code: found.get('C') ?? 'XX000',
    message: found.get('M') ?? 'the server reported an error without a text',
    detail: found.get('D'),
    hint: found.get('H'),
  };
}

/** Name and value of a ParameterStatus; null when malformed. */
export function parameterFields(
  bytes: Buffer,
  start: number,
  end: number,
): { name: string; value: string } | null {
  const middle = bytes.indexOf(0, start + 5);
  if (middle === -1 || middle >= end) return null;
  const last = bytes.indexOf(0, middle + 1);
  if (last === -1 || last >= end) return null;
  return { name: bytes.toString('utf8', start + 5, middle), value: bytes.toString('utf8', middle + 1, last) };
}

/** The result columns of one text-format DataRow. */
export function rowValues(bytes: Buffer, start: number): (string | null)[] {
  const count = bytes.readInt16BE(start + 5);
  const values: (string | null)[] = [];
  let at = start + 7;
  for (let i = 0; i < count; i++) {
    const size = bytes.readInt32BE(at);
    at += 4;
    values.push(size < 0 ? null : bytes.toString('utf8', at, at + size));
    at += Math.max(0, size);
  }
  return values;
}
