/**
 * How the documents of a column are spelt. Documents that are spelt alike in all places are split into columns; any other is kept as text,
 * so the choice of a style can cost bytes but never a difference.
 */

/** How jsonb is printed. Python's `json.dumps` spells so too. */
const COMMA_SPACE = 1;
const COLON_SPACE = 2;
/** The version byte before each jsonb value of the binary transfer. */
const BINARY = 4;
export const JSONB_VERSION = 0x01;

/** Canonical first: it wins where documents leave the choice open. */
const SPELLINGS = [COMMA_SPACE | COLON_SPACE, 0, COLON_SPACE, COMMA_SPACE];

export interface JsonStyle {
  /** Part of the format. */
  readonly flags: number;
  readonly binary: boolean;
  readonly comma: Buffer;
  readonly colon: Buffer;
}

export function jsonStyle(flags: number): JsonStyle | null {
  if (flags < 0 || flags > (COMMA_SPACE | COLON_SPACE | BINARY)) return null;
  return {
    flags,
    binary: (flags & BINARY) !== 0,
    comma: Buffer.from(flags & COMMA_SPACE ? ', ' : ','),
    colon: Buffer.from(flags & COLON_SPACE ? ': ' : ':'),
  };
}

/** The spellings to try for a column whose values have, or have not, the version byte. */
export function jsonStyles(binary: boolean): JsonStyle[] {
  return SPELLINGS.map((flags) => jsonStyle(flags | (binary ? BINARY : 0)) as JsonStyle);
}

/** What stands before the value of a key: `{"a": ` for the first, `, "a": ` for the others. `key` as spelt between its quotes. */
export function keyLiteral(style: JsonStyle, key: Uint8Array, first: boolean): Buffer {
  return Buffer.concat([
    first ? Buffer.from('{"') : style.comma,
    ...(first ? [] : [QUOTE]),
    key,
    QUOTE,
    style.colon,
  ]);
}

const QUOTE = Buffer.from('"');

/** {@link keyLiteral} by four bytes, little-endian, so that it can be compared and copied a word at a time. */
export function wordsOf(literal: Buffer): Int32Array {
  const padded = Buffer.alloc((literal.length + 3) & ~3);
  literal.copy(padded);
  return Int32Array.from({ length: padded.length >>> 2 }, (_, i) => padded.readInt32LE(4 * i));
}
