/** The inverse of `write.ts`: columns of whole numbers from their streams. */
import { corrupt } from '../../header.ts';
import type { Ints } from '../ints.ts';
import { getSigned } from '../signed.ts';
import type { StreamSource } from '../streams.ts';
import { Code, codeOf, DEPTH_MAX, layoutOf } from './codes.ts';
import { countMisses, unfollowCursors } from './cursor.ts';
import { expandDict } from './dict.ts';
import { LINEAR_MAX, type Linear, readLinear } from './linear.ts';
import { getNaturals, type Layout, readNaturals } from './naturals.ts';
import { expandRuns } from './runs.ts';
import { readStep } from './step.ts';
import { getInt64, join, narrow, placeOutliers, rebase, widen } from './wide.ts';

/** @throws DroverError `block.corrupt` */
export function readInts(source: StreamSource, count: number): Ints {
  if (count === 0) return new Float64Array(0);
  source.spend(count * 8);
  const first = source.numbers.u8();
  const code = codeOf(first);
  switch (code) {
    case Code.exceptions: {
      const gaps = getGaps(source, count);
      source.spend(gaps.length * 8 + count * 8);
      const outliers = new BigInt64Array(gaps.length);
      for (let i = 0; i < outliers.length; i++) outliers[i] = getInt64(source.numbers);
      return narrow(placeOutliers(widen(near(source, count, 0)), gaps, outliers));
    }
    case Code.based: {
      source.spend(count * 8);
      const base = getInt64(source.numbers);
      return narrow(rebase(base, near(source, count, 0)));
    }
    case Code.halves: {
      source.spend(count * 8);
      return narrow(join(near(source, count, 0), near(source, count, 0)));
    }
    default:
      return decodeCode(code, layoutOf(first), source, count, 0);
  }
}

function getGaps(source: StreamSource, count: number): Float64Array {
  const length = source.numbers.varint();
  if (length > count) throw corrupt('a column has more outliers than values');
  return length === 0 ? new Float64Array(0) : getNaturals(source, length);
}

function near(source: StreamSource, count: number, depth: number): Float64Array {
  source.spend(count * 8);
  const first = source.numbers.u8();
  return decodeCode(codeOf(first), layoutOf(first), source, count, depth);
}

function decodeCode(
  code: number,
  layout: Layout,
  source: StreamSource,
  count: number,
  depth: number,
): Float64Array {
  switch (code) {
    case Code.constant:
      return new Float64Array(count).fill(getSigned(source.numbers));
    case Code.plain: {
      const out = new Float64Array(count);
      for (let i = 0; i < count; i++) out[i] = getSigned(source.numbers);
      return out;
    }
    case Code.step:
      return readStep(source, count);
    case Code.runs:
    case Code.dict:
    case Code.cursor:
      if (depth >= DEPTH_MAX) throw corrupt('numbers are nested too deeply');
      return decodeNested(code, layout, source, count, depth + 1);
    default:
      if (code < 1 || code > LINEAR_MAX) throw corrupt('numbers are coded in an unknown way', { code });
      return readLinear(source, count, code as Linear, layout);
  }
}

function decodeNested(
  code: number,
  layout: Layout,
  source: StreamSource,
  count: number,
  depth: number,
): Float64Array {
  if (code === Code.cursor) {
    const places = new Float64Array(count);
    readNaturals(source, count, layout, places);
    const missed = countMisses(places);
    unfollowCursors(places, missed === 0 ? places : near(source, missed, depth), 1);
    return places;
  }
  const length = source.numbers.varint();
  if (length < 1 || length > count) throw corrupt('a column has more parts than values', { length, count });
  const values = near(source, length, depth);
  if (code === Code.runs) return expandRuns({ values, lengths: near(source, length, depth) }, count, source);
  const ids = new Float64Array(count);
  readNaturals(source, count, layout, ids);
  return expandDict(values, ids);
}
