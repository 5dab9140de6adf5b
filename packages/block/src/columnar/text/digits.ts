/** Numbers as ASCII digits in a buffer: written without a string in between. The caller has made room. */

/** More digits than this are not exact in a double; such runs stay text. */
export const DIGITS_MAX = 15;
/** Bytes {@link putDecimal} may write: sign, leading zero, point, digits. */
export const DECIMAL_BYTES_MAX = 2 * DIGITS_MAX + 3;
export const POWERS: readonly number[] = Array.from({ length: DIGITS_MAX + 1 }, (_, i) => 10 ** i);

const ZERO = 0x30;
const HALF_DIGITS = 7;
const HALF = 10 ** HALF_DIGITS;

export function digitsOf(value: number): number {
  let digits = 1;
  while (digits <= DIGITS_MAX && value >= (POWERS[digits] as number)) digits++;
  return digits;
}

/** Writes `value`, below 10^15, with `width` digits, zeros in front, at `at`. @returns the offset behind it */
export function putPadded(out: Uint8Array, at: number, value: number, width: number): number {
  let place = at + width;
  // As 32-bit integers from here on, whose remainders are quick.
  let rest = value | 0;
  if (value >= 0x7fff_ffff) {
    const high = Math.floor(value / HALF);
    let low = (value - high * HALF) | 0;
    for (let i = 0; i < HALF_DIGITS; i++) {
      const tenth = (low / 10) | 0;
      out[--place] = ZERO + low - tenth * 10;
      low = tenth;
    }
    rest = high | 0;
  }
  while (place > at) {
    const tenth = (rest / 10) | 0;
    out[--place] = ZERO + rest - tenth * 10;
    rest = tenth;
  }
  return at + width;
}

/** Writes a natural number below 10^15. @returns the offset behind it */
export function putNatural(out: Uint8Array, at: number, value: number): number {
  if (value < 10) {
    out[at] = ZERO + value;
    return at + 1;
  }
  if (value < 100) {
    const tens = (value / 10) | 0;
    out[at] = ZERO + tens;
    out[at + 1] = ZERO + value - tens * 10;
    return at + 2;
  }
  return putPadded(out, at, value, digitsOf(value));
}

/** Writes `mantissa` * 10^-`scale` with exactly `scale` digits behind the point. @returns the offset behind it */
export function putDecimal(out: Uint8Array, at: number, mantissa: number, scale: number): number {
  let place = at;
  let value = mantissa;
  if (value < 0) {
    out[place++] = 0x2d;
    value = -value;
  }
  if (scale === 0) return putNatural(out, place, value);
  const power = POWERS[scale] as number;
  const whole = Math.floor(value / power);
  place = putNatural(out, place, whole);
  out[place++] = 0x2e;
  return putPadded(out, place, value - whole * power, scale);
}
