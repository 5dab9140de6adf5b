import { describe, expect, it } from 'vitest';
import type { DecodedBlock } from './decoded-block.ts';
import { textRelations } from './form.ts';

type Value = readonly ['b' | 't', string] | 'n' | 'u';

/** One change a row, of relation 0, 1, … in order of `relations`. */
function block(
  relations: readonly number[],
  rows: readonly (readonly Value[])[],
  deleted = false,
): DecodedBlock {
  const parts: Buffer[] = [Buffer.from('xx')];
  const at = new Int32Array(rows.length * 4);
  let end = 2;
  rows.forEach((values, i) => {
    const start = end;
    const tuple = Buffer.concat([
      Buffer.from([0, values.length]),
      ...values.map((value) => {
        if (typeof value === 'string') return Buffer.from(value);
        const [kind, text] = value;
        return Buffer.concat([Buffer.from(`${kind}\0\0\0`), Buffer.from([text.length]), Buffer.from(text)]);
      }),
    ]);
    parts.push(tuple);
    end += tuple.length;
    at.set(deleted ? [start, end, 0, 0] : [0, 0, start, end], i * 4);
  });
  const names = [...new Set(relations)];
  return {
    relations: names.map((name) => ({ name })),
    relation: Uint16Array.from(relations),
    count: rows.length,
    at,
    bytes: Buffer.concat(parts),
  } as unknown as DecodedBlock;
}

describe('the form of values', () => {
  const text: Value = ['t', 'x'];
  const binary: Value = ['b', 'y'];

  it('is text when the first change that has values has none in binary form', () => {
    expect(
      textRelations(
        block(
          [0, 1, 2],
          [
            [text, 'n', text],
            [text, binary],
            ['n', 'u'],
          ],
        ),
      ),
    ).toEqual([true, false, false]);
    expect(
      textRelations(
        block(
          [0, 0],
          [
            ['n', 'n'],
            [text, 'n'],
          ],
        ),
      ),
    ).toEqual([true]);
    expect(
      textRelations(
        block(
          [0, 0],
          [
            [binary, 'n'],
            [text, 'n'],
          ],
        ),
      ),
    ).toEqual([false]);
  });

  it('of a delete is that of the old row', () => {
    expect(textRelations(block([0], [[text]], true))).toEqual([true]);
  });

  it('of a relation without changes is binary', () => {
    expect(
      textRelations({ ...block([0], [[text]]), relations: [{}, {}] } as unknown as DecodedBlock),
    ).toEqual([true, false]);
  });
});
