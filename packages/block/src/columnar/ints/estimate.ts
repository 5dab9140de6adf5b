/** How many bits entropy coding would take, without doing it. */
import { TOKEN_STYLES, tokenize } from './tokens.ts';

const KNOWN = 4096;
/** x · log2(x) of small whole numbers. */
const xlogx = new Float64Array(KNOWN);
for (let x = 2; x < KNOWN; x++) xlogx[x] = x * Math.log2(x);

function entropyPart(x: number): number {
  return x < KNOWN ? (xlogx[x] as number) : x * Math.log2(x);
}

/** State, highest token, and the half byte that is lost. */
const FIXED_BITS = 44;
const BITS_PER_TOKEN = 5.5;
const BITS_PER_GAP = 4;

/** Infinity when the style does not fit the values. */
export function estimateRans(values: Float64Array, count: number, style: number): number {
  const made = tokenize(values, count, TOKEN_STYLES[style] as (typeof TOKEN_STYLES)[number]);
  let bits = FIXED_BITS + made.extraBits + entropyPart(count);
  let absent = 0;
  for (let token = 0; token <= made.highest; token++) {
    const times = made.histogram[token] as number;
    if (times === 0) {
      absent++;
      continue;
    }
    bits += BITS_PER_TOKEN - entropyPart(times);
    if (absent > 0) bits += BITS_PER_GAP * Math.min(absent, 2 + Math.ceil(absent / 18));
    absent = 0;
  }
  return bits;
}
