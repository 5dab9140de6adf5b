/**
 * Several interleaved sequences, as of a sequence with CACHE used by several sessions: for each number the place of its expected value in a list
 * of the 16 used last, most recent first. What nobody expected starts (or continues) a sequence and is a number of its own.
 */
import { corrupt } from '../../header.ts';

const CURSORS = 16;

const expected = new Float64Array(CURSORS);

/** Places into `places[0 .. count)`, {@link CURSORS} for a miss; the misses into `misses`. @returns how many missed */
export function followCursors(
  values: Float64Array,
  count: number,
  step: number,
  places: Float64Array,
  misses: Float64Array,
): number {
  let used = 0;
  let missed = 0;
  for (let i = 0; i < count; i++) {
    const value = values[i] as number;
    let place = 0;
    while (place < used && expected[place] !== value) place++;
    if (place === used) {
      places[i] = CURSORS;
      misses[missed++] = value;
      if (used < CURSORS) used++;
      place = used - 1;
    } else places[i] = place;
    for (let j = place; j > 0; j--) expected[j] = expected[j - 1] as number;
    expected[0] = value + step;
  }
  return missed;
}

/** How many of the places are misses. */
export function countMisses(places: Float64Array): number {
  let missed = 0;
  for (let i = 0; i < places.length; i++) if (places[i] === CURSORS) missed++;
  return missed;
}

/** Turns places into values, in place. @throws DroverError `block.corrupt` */
export function unfollowCursors(places: Float64Array, misses: Float64Array, step: number): void {
  let used = 0;
  let next = 0;
  for (let i = 0; i < places.length; i++) {
    let place = places[i] as number;
    let value: number;
    if (place === CURSORS) {
      value = misses[next++] as number;
      if (used < CURSORS) used++;
      place = used - 1;
    } else if (place < used) value = expected[place] as number;
    else throw corrupt('a number refers to a sequence that is not there');
    for (let j = place; j > 0; j--) expected[j] = expected[j - 1] as number;
    expected[0] = value + step;
    places[i] = value;
  }
}
