/** One numeric in its binary form (numeric_send) as a whole number of 10^-scale. */

/** Header and the digits of 2^53. */
export const NUMERIC_BYTES_MAX = 8 + 2 * 12;
const SCALE_MAX = 12;
const BASE = 10_000;
const NEGATIVE = 0x4000;
const DIGITS_MAX = 6;
const HEADER_BYTES = 8;

const scratch = Buffer.alloc(NUMERIC_BYTES_MAX);

/** The display scale of a finite numeric, or -1. */
export function scaleOf(bytes: Buffer, start: number, end: number): number {
  if (end - start < HEADER_BYTES) return -1;
  const sign = bytes.readUInt16BE(start + 4);
  const scale = bytes.readUInt16BE(start + 6);
  return (sign === 0 || sign === NEGATIVE) && scale <= SCALE_MAX ? scale : -1;
}

/** NaN when the value is of another scale or would not come back byte for byte. */
export function parseNumeric(bytes: Buffer, start: number, end: number, scale: number): number {
  const digits = (end - start - HEADER_BYTES) / 2;
  if (scaleOf(bytes, start, end) !== scale || !Number.isInteger(digits) || digits > DIGITS_MAX)
    return Number.NaN;
  const weight = bytes.readInt16BE(start + 2);
  let value = 0;
  for (let i = 0; i < digits; i++) value = value * BASE + bytes.readUInt16BE(start + HEADER_BYTES + 2 * i);
  const places = 4 * (digits - 1 - weight);
  const shift = scale - places;
  if (shift < -12 || shift > 20) return Number.NaN;
  const whole = shift >= 0 ? value * 10 ** shift : value / 10 ** -shift;
  if (!Number.isSafeInteger(whole)) return Number.NaN;
  const signed = bytes.readUInt16BE(start + 4) === NEGATIVE ? -whole : whole;
  if (Object.is(signed, -0)) return Number.NaN;
  const length = printNumeric(signed, scale, scratch);
  return length === end - start && scratch.compare(bytes, start, end, 0, length) === 0 ? signed : Number.NaN;
}

/** What numeric_send makes of `value` / 10^scale. @returns its length */
export function printNumeric(value: number, scale: number, out: Buffer): number {
  const groups = Math.ceil(scale / 4);
  // In two parts, so that no product is larger than a number holds exactly.
  const unit = 10 ** scale;
  let whole = Math.floor(Math.abs(value) / unit);
  let fraction = (Math.abs(value) - whole * unit) * 10 ** (4 * groups - scale);
  const digits: number[] = [];
  for (let i = 0; i < groups; i++) {
    digits.unshift(fraction % BASE);
    fraction = Math.floor(fraction / BASE);
  }
  for (; whole > 0; whole = Math.floor(whole / BASE)) digits.unshift(whole % BASE);
  let weight = digits.length - 1 - groups;
  while (digits[0] === 0) {
    digits.shift();
    weight--;
  }
  while (digits.at(-1) === 0) digits.pop();
  out.writeUInt16BE(digits.length, 0);
  out.writeInt16BE(digits.length === 0 ? 0 : weight, 2);
  out.writeUInt16BE(value < 0 ? NEGATIVE : 0, 4);
  out.writeUInt16BE(scale, 6);
  digits.forEach((digit, i) => {
    out.writeUInt16BE(digit, HEADER_BYTES + 2 * i);
  });
  return HEADER_BYTES + 2 * digits.length;
}
