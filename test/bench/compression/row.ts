/**
 * One row in three forms at once: the pgoutput tuple in binary, its length as pgoutput text, and row binary, the denominator: fixed-width values
 * and length-prefixed strings, a bit per nullable value, numerics as decimal text. The strictest of the three to compare with.
 */

/** Microseconds from 1970 to 2000, the epoch of PostgreSQL. */
export const PG_EPOCH_US = 946_684_800_000_000;

const DIGITS = 10_000;

class Growing {
  bytes = Buffer.allocUnsafe(1 << 12);
  size = 0;

  take(length: number): number {
    if (this.size + length > this.bytes.length) {
      const grown = Buffer.allocUnsafe(Math.max(this.size + length, this.bytes.length * 2));
      this.bytes.copy(grown, 0, 0, this.size);
      this.bytes = grown;
    }
    const at = this.size;
    this.size += length;
    return at;
  }
}

export class RowWriter {
  readonly #tuple = new Growing();
  readonly #rowBinary = new Growing();
  #columns = 0;
  /** Bytes of the tuple in pgoutput's text format. */
  textBytes = 0;

  start(): void {
    this.#tuple.size = 2;
    this.#rowBinary.size = 0;
    this.#columns = 0;
    this.textBytes = 2;
  }

  /** Valid until the next start. */
  get tuple(): Buffer {
    this.#tuple.bytes.writeUInt16BE(this.#columns, 0);
    return this.#tuple.bytes.subarray(0, this.#tuple.size);
  }

  /** With a null bitmap in front; valid until the next start. */
  get rowBinary(): Buffer {
    return Buffer.concat([
      Buffer.alloc(Math.ceil(this.#columns / 8)),
      this.#rowBinary.bytes.subarray(0, this.#rowBinary.size),
    ]);
  }

  #value(binary: number, fixed: number, text: number): { at: number; row: number } {
    const at = this.#tuple.take(5 + binary);
    this.#tuple.bytes[at] = 0x62;
    this.#tuple.bytes.writeUInt32BE(binary, at + 1);
    this.#columns++;
    this.textBytes += 5 + text;
    return { at: at + 5, row: this.#rowBinary.take(fixed) };
  }

  null(): void {
    this.#tuple.bytes[this.#tuple.take(1)] = 0x6e;
    this.#columns++;
    this.textBytes += 1;
  }

  unchanged(): void {
    this.#tuple.bytes[this.#tuple.take(1)] = 0x75;
    this.#columns++;
    this.textBytes += 1;
  }

  int2(value: number): void {
    const { at, row } = this.#value(2, 2, String(value).length);
    this.#tuple.bytes.writeInt16BE(value, at);
    this.#rowBinary.bytes.writeInt16LE(value, row);
  }

  int4(value: number): void {
    this.#int4(value, String(value).length);
  }

  #int4(value: number, text: number): void {
    const { at, row } = this.#value(4, 4, text);
    this.#tuple.bytes.writeInt32BE(value, at);
    this.#rowBinary.bytes.writeInt32LE(value, row);
  }

  int8(value: number): void {
    this.#int8(value, String(value).length);
  }

  #int8(value: number, text: number): void {
    const { at, row } = this.#value(8, 8, text);
    this.#tuple.bytes.writeBigInt64BE(BigInt(value), at);
    this.#rowBinary.bytes.writeBigInt64LE(BigInt(value), row);
  }

  /** Days since 2000-01-01; as text `2024-01-31`. */
  date(days: number): void {
    this.#int4(days, 10);
  }

  /** Microseconds since 2000-01-01; as text `2024-01-31 12:34:56.123456+00`, fraction trimmed. */
  timestamptz(us: number): void {
    const fraction = String(us % 1_000_000)
      .padStart(6, '0')
      .replace(/0+$/, '');
    this.#int8(us, 22 + (fraction.length > 0 ? 1 + fraction.length : 0));
  }

  bool(value: boolean): void {
    const { at, row } = this.#value(1, 1, 1);
    this.#tuple.bytes[at] = value ? 1 : 0;
    this.#rowBinary.bytes[row] = value ? 1 : 0;
  }

  float8(value: number): void {
    const { at, row } = this.#value(8, 8, String(value).length);
    this.#tuple.bytes.writeDoubleBE(value, at);
    this.#rowBinary.bytes.writeDoubleLE(value, row);
  }

  float4(value: number): void {
    const { at, row } = this.#value(4, 4, String(Number(Math.fround(value).toPrecision(8))).length);
    this.#tuple.bytes.writeFloatBE(value, at);
    this.#rowBinary.bytes.writeFloatLE(value, row);
  }

  text(value: string): void {
    this.#bytes(Buffer.from(value), Buffer.byteLength(value), 0);
  }

  /** Binary form starts with a version byte. */
  jsonb(value: string): void {
    const text = Buffer.from(value);
    this.#bytes(text, text.length, 1);
  }

  #bytes(value: Buffer, text: number, prefix: 0 | 1): void {
    const head = value.length < 128 ? 1 : 2;
    const { at, row } = this.#value(value.length + prefix, head + value.length, text);
    if (prefix === 1) this.#tuple.bytes[at] = 1;
    value.copy(this.#tuple.bytes, at + prefix);
    this.#rowBinary.bytes[row] = value.length & 127;
    if (head === 2) this.#rowBinary.bytes[row + 1] = value.length >> 7;
    value.copy(this.#rowBinary.bytes, row + head);
  }

  uuid(value: Buffer): void {
    const { at, row } = this.#value(16, 16, 36);
    value.copy(this.#tuple.bytes, at);
    value.copy(this.#rowBinary.bytes, row);
  }

  /** IPv4 host: family, bits, is_cidr, length, address. */
  inet(address: Buffer): void {
    const { at, row } = this.#value(8, 4, [...address].join('.').length);
    Buffer.from([2, 32, 0, 4]).copy(this.#tuple.bytes, at);
    address.copy(this.#tuple.bytes, at + 4);
    address.copy(this.#rowBinary.bytes, row);
  }

  /** `scaled` / 10^scale. */
  numeric(scaled: number, scale: number): void {
    const text = (scaled / 10 ** scale).toFixed(scale);
    const send = numericSend(scaled, scale);
    const { at, row } = this.#value(send.length, 1 + text.length, text.length);
    send.copy(this.#tuple.bytes, at);
    this.#rowBinary.bytes[row] = text.length;
    this.#rowBinary.bytes.write(text, row + 1, 'latin1');
  }
}

/** What numeric_send makes of `scaled` / 10^scale. */
export function numericSend(scaled: number, scale: number): Buffer {
  const groups = Math.ceil(scale / 4);
  let rest = BigInt(Math.abs(scaled)) * 10n ** BigInt(groups * 4 - scale);
  const digits: number[] = [];
  for (; rest > 0n; rest /= BigInt(DIGITS)) digits.unshift(Number(rest % BigInt(DIGITS)));
  const weight = digits.length === 0 ? 0 : digits.length - 1 - groups;
  while (digits.at(-1) === 0) digits.pop();
  const out = Buffer.alloc(8 + 2 * digits.length);
  out.writeInt16BE(digits.length, 0);
  out.writeInt16BE(weight, 2);
  out.writeUInt16BE(scaled < 0 ? 0x4000 : 0, 4);
  out.writeInt16BE(scale, 6);
  for (const [i, digit] of digits.entries()) out.writeInt16BE(digit, 8 + 2 * i);
  return out;
}
