/** Columns of integers that a codec of text wrote itself, read back with their bounds checked. */
import { corrupt } from '../../header.ts';
import type { StreamSource } from '../streams.ts';
import type { Columns } from './codec.ts';

/** @throws DroverError `block.corrupt` */
export function wholeNumbers(columns: Columns, source: StreamSource, count: number): Float64Array {
  const values = columns.decodeInts(source, count);
  if (!(values instanceof Float64Array) || values.length !== count)
    throw corrupt('a column is not of numbers');
  for (let i = 0; i < count; i++) {
    if (!Number.isSafeInteger(values[i])) throw corrupt('a column is not of integers');
  }
  return values;
}

/** Integers of 0 to `max`. @throws DroverError `block.corrupt` */
export function naturals(columns: Columns, source: StreamSource, count: number, max: number): Float64Array {
  const values = wholeNumbers(columns, source, count);
  for (let i = 0; i < count; i++) {
    const value = values[i] as number;
    if (!(value >= 0 && value <= max)) throw corrupt('a number is out of range', { value, max });
  }
  return values;
}
