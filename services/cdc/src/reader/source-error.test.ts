import { DroverError } from '@drover/core';
import { expect, it } from 'vitest';
import { sourceError } from './source-error.ts';

const AT = { host: 'h', port: 1, user: 'u', password: '', database: 'd', ssl: false } as const;
const pg = (code: string) => Object.assign(new Error('x'), { code, severity: 'ERROR' });

it('what passes is tried again, what nobody expected is not', () => {
  for (const code of ['57P01', '57P03', '55000', '57014', '53300', 'ECONNRESET'])
    expect(sourceError(pg(code), AT), code).toMatchObject({ code: 'pg.unreachable' });
  const own = new DroverError('pg.slot_lost', 'x');
  expect(sourceError(own, AT)).toBe(own);
  const bug = new TypeError('x');
  expect(sourceError(bug, AT)).toBe(bug);
  expect(sourceError(pg('42601'), AT)).toMatchObject({ code: '42601' });
});
