/** The alphabets within which format-keeping exchanges characters: each is a range of code points that all are of one sort. */
interface Alphabet {
  readonly first: number;
  readonly size: number;
}

function range(first: number, last: number): Alphabet {
  return { first, size: last - first + 1 };
}

/** Disjoint. What is in none of them (punctuation, blanks, symbols) stays. */
export const ALPHABETS: readonly Alphabet[] = [
  range(0x30, 0x39), // 0-9
  range(0x61, 0x7a), // a-z
  range(0x41, 0x5a), // A-Z
  range(0xc0, 0xd6), // À-Ö
  range(0xd8, 0xde), // Ø-Þ
  range(0xdf, 0xf6), // ß-ö
  range(0xf8, 0xff), // ø-ÿ
  range(0x100, 0x17f), // Latin Extended-A
  range(0x391, 0x3a1), // Α-Ρ
  range(0x3a3, 0x3a9), // Σ-Ω
  range(0x3b1, 0x3c9), // α-ω
  range(0x410, 0x42f), // А-Я
  range(0x430, 0x44f), // а-я
  range(0x5d0, 0x5ea), // Hebrew
  range(0x620, 0x63f), // Arabic, before the tatweel
  range(0x641, 0x64a), // and behind it
  range(0x660, 0x669), // Arabic-Indic digits
  range(0x905, 0x939), // Devanagari letters
  range(0x966, 0x96f), // and digits
  range(0xe01, 0xe2e), // Thai consonants
  range(0x3041, 0x3096), // Hiragana
  range(0x30a1, 0x30fa), // Katakana
  range(0x4e00, 0x9fff), // CJK
  range(0xac00, 0xd7a3), // Hangul
];

/** Index of the alphabet, or -1. */
export function alphabetOf(code: number): number {
  if (code < 0x80) {
    if (code >= 0x61 && code <= 0x7a) return 1;
    if (code >= 0x41 && code <= 0x5a) return 2;
    return code >= 0x30 && code <= 0x39 ? 0 : -1;
  }
  return ALPHABETS.findIndex(({ first, size }) => code >= first && code < first + size);
}
