import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { renderErrorReference } from './error-reference.ts';
import { CATALOGUE, DroverError, describeError, dispositionOf } from './errors.ts';

describe('the error catalogue', () => {
  it('has codes of one form, each with what it means in whole sentences', () => {
    for (const [code, entry] of Object.entries(CATALOGUE)) {
      expect(code).toMatch(/^[a-z]+\.[a-z_]+$/);
      expect(entry.doc, code).toMatch(/^[A-Z`].{20,}[.`]$/s);
    }
  });

  it('is what the reference page says', () => {
    const page = readFileSync(join(import.meta.dirname, '../../../docs/reference/errors.md'), 'utf8');
    expect(page, 'run: node packages/core/src/write-error-reference.ts').toBe(renderErrorReference());
  });

  it('describes an error with its causes and its hint on one line', () => {
    const error = new DroverError('pg.unreachable', 'east does not answer', {
      cause: new Error('connect ECONNREFUSED'),
      hint: 'start it',
    });
    expect(describeError(error)).toBe('east does not answer (connect ECONNREFUSED); start it');
    expect(describeError(new AggregateError([new Error('first')]))).toBe('first');
    expect(describeError('text')).toBe('text');
  });
});

it('what a reason on record means is told by the code it begins with', () => {
  const reasons = [
    'bus.truncated: gone: far',
    'block.sealed: no key',
    'pause:7',
    'value too long',
    'bus.truncated',
    '',
    null,
  ];
  expect(reasons.map(dispositionOf)).toEqual(['resync', 'park', null, null, null, null, null]);
});
