/** Sequences that rise by the same step nearly always: where they do not, and by how much they rise there. */
import { corrupt } from '../../header.ts';
import { getSigned, putSigned, unzigzag, zigzag } from '../signed.ts';
import type { StreamSink, StreamSource } from '../streams.ts';
import { getNaturals, putNaturals } from './naturals.ts';

/** The commonest of a few differences, or null when more than one in `rarity` values differs from it. */
export function commonStep(values: Float64Array, count: number, rarity: number): number | null {
  const probe = new Map<number, number>();
  const stride = Math.max(1, Math.floor(count / 64));
  let step = 0;
  let most = 0;
  for (let i = 1; i < count; i += stride) {
    const difference = (values[i] as number) - (values[i - 1] as number);
    const times = (probe.get(difference) ?? 0) + 1;
    probe.set(difference, times);
    if (times > most) {
      most = times;
      step = difference;
    }
  }
  return countExceptions(values, count, step) * rarity <= count ? step : null;
}

function countExceptions(values: Float64Array, count: number, step: number): number {
  let exceptions = 0;
  for (let i = 1; i < count; i++) {
    if ((values[i] as number) - (values[i - 1] as number) !== step) exceptions++;
  }
  return exceptions;
}

export function writeStep(values: Float64Array, count: number, step: number, sink: StreamSink): void {
  const exceptions = countExceptions(values, count, step);
  const gaps = new Float64Array(exceptions);
  const rises = new Float64Array(exceptions);
  let at = 0;
  let last = 0;
  for (let i = 1; i < count; i++) {
    const difference = (values[i] as number) - (values[i - 1] as number);
    if (difference === step) continue;
    gaps[at] = i - last - 1;
    rises[at++] = zigzag(difference - step) - 1;
    last = i;
  }
  putSigned(sink.numbers, values[0] as number);
  putSigned(sink.numbers, step);
  sink.numbers.varint(exceptions);
  if (exceptions === 0) return;
  putNaturals(gaps, exceptions, sink);
  putNaturals(rises, exceptions, sink);
}

/** @throws DroverError `block.corrupt` */
export function readStep(source: StreamSource, count: number): Float64Array {
  const first = getSigned(source.numbers);
  const step = getSigned(source.numbers);
  const exceptions = source.numbers.varint();
  if (exceptions >= count) throw corrupt('a sequence has more exceptions than values');
  const out = new Float64Array(count);
  const gaps = exceptions === 0 ? out : getNaturals(source, exceptions);
  const rises = exceptions === 0 ? out : getNaturals(source, exceptions);
  let value = first;
  let i = 0;
  for (let e = 0; e < exceptions; e++) {
    const stop = i + (gaps[e] as number) + 1;
    if (stop >= count) throw corrupt('an exception stands outside its column');
    for (; i < stop; i++) {
      out[i] = value;
      value += step;
    }
    value += unzigzag((rises[e] as number) + 1);
  }
  for (; i < count; i++) {
    out[i] = value;
    value += step;
  }
  return out;
}
