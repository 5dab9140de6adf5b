import fc from 'fast-check';
import { expect, it } from 'vitest';
import { pages } from './rpc-pages.ts';

it('pages hold every item in order, and are no larger than asked unless one item is', () => {
  fc.assert(
    fc.property(
      fc.array(fc.jsonValue(), { maxLength: 200 }),
      fc.integer({ min: 1, max: 500 }),
      (items, bytes) => {
        const found = [...pages(items, bytes)];
        expect(found.flat(1)).toEqual(items);
        for (const page of found) {
          expect(page.length).toBeGreaterThan(0);
          if (page.length > 1) expect(Buffer.byteLength(JSON.stringify(page)) - 1).toBeLessThanOrEqual(bytes);
        }
      },
    ),
  );
});
