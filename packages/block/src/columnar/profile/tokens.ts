/**
 * Text as literal pieces with tokens between them. Of plain text the tokens are runs of ASCII digits; of documents they are the strings that are
 * no keys (without their quotes), numbers, and the words true, false and null. Nothing here decides what is valid: pieces and tokens, one behind
 * the other, are the text, whatever it is.
 */

/** More tokens make no template. */
export const TOKENS_MAX = 64;
/** A longer run of digits is taken as text. */
const DIGITS_MAX = 15;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const MINUS = 0x2d;

/** Of the value looked at last: where each token starts and ends. */
export class Tokens {
  readonly starts = new Uint32Array(TOKENS_MAX);
  readonly ends = new Uint32Array(TOKENS_MAX);
  count = 0;

  #push(start: number, end: number): boolean {
    if (this.count === TOKENS_MAX) return false;
    this.starts[this.count] = start;
    this.ends[this.count++] = end;
    return true;
  }

  /** False when there are too many tokens. */
  readText(bytes: Buffer, start: number, end: number): boolean {
    this.count = 0;
    let at = start;
    while (at < end) {
      const first = at;
      while (at < end && isDigit(bytes[at] as number)) at++;
      if (at > first) {
        if (at - first <= DIGITS_MAX && !this.#push(first, at)) return false;
      } else at++;
    }
    return true;
  }

  /** False when there are too many tokens, or a string does not end. */
  readDocument(bytes: Buffer, start: number, end: number): boolean {
    this.count = 0;
    let at = start;
    while (at < end) {
      const byte = bytes[at] as number;
      if (byte === QUOTE) {
        const close = stringEnd(bytes, at + 1, end);
        if (close < 0) return false;
        if (!isKey(bytes, close + 1, end) && !this.#push(at + 1, close)) return false;
        at = close + 1;
        continue;
      }
      const first = at;
      if (isDigit(byte) || byte === MINUS) while (at < end && isOfNumber(bytes[at] as number)) at++;
      else if (isLower(byte)) while (at < end && isLower(bytes[at] as number)) at++;
      if (at === first) at++;
      else if (!this.#push(first, at)) return false;
    }
    return true;
  }

  /** The pieces around the tokens: one more than there are tokens. */
  pieces(bytes: Buffer, start: number, end: number): Buffer[] {
    const pieces: Buffer[] = [];
    let at = start;
    for (let i = 0; i < this.count; i++) {
      pieces.push(bytes.subarray(at, this.starts[i]));
      at = this.ends[i] as number;
    }
    pieces.push(bytes.subarray(at, end));
    return pieces;
  }
}

/** The same for the same pieces, and only for those: U+0100 is no byte. */
export function keyOf(pieces: readonly Buffer[]): string {
  return pieces.map((piece) => piece.toString('latin1')).join('\u0100');
}

function stringEnd(bytes: Buffer, start: number, end: number): number {
  for (let at = start; at < end; at++) {
    const byte = bytes[at] as number;
    if (byte === QUOTE) return at;
    if (byte === BACKSLASH) at++;
  }
  return -1;
}

function isKey(bytes: Buffer, start: number, end: number): boolean {
  let at = start;
  while (at < end && (bytes[at] as number) <= 0x20) at++;
  return at < end && bytes[at] === COLON;
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

function isLower(byte: number): boolean {
  return byte >= 0x61 && byte <= 0x7a;
}

function isOfNumber(byte: number): boolean {
  return isDigit(byte) || byte === MINUS || byte === 0x2e || byte === 0x2b || byte === 0x65 || byte === 0x45;
}
