import { describe, expect, it } from 'vitest';
import { crowderOf } from './crowding.ts';

const MB = 1024 * 1024;
const block = (tenant: string, size: number) => ({ tenant, size, kind: 'block' as const });
const alike = (): number => 1;

describe('crowderOf', () => {
  it('names who has most of what waits', () => {
    expect(crowderOf([block('a', 2 * MB), block('b', 1000), block('a', MB)], alike)).toBe('a');
  });

  it('names who is alone in what is seen: others may be behind it', () => {
    expect(crowderOf([block('a', 2 * MB)], alike)).toBe('a');
  });

  it('names nobody when many share what waits, or two do', () => {
    const many = Array.from({ length: 100 }, (_, i) => block(`t${i % 20}`, 50_000));
    expect(crowderOf(many, alike)).toBeNull();
    expect(crowderOf([block('a', 6 * MB), block('b', 4 * MB)], alike)).toBeNull();
  });

  it('goes by weight', () => {
    const waiting = [block('a', 6 * MB), ...['b', 'c', 'd'].map((name) => block(name, MB))];
    expect(crowderOf(waiting, alike)).toBe('a');
    expect(crowderOf(waiting, (tenant) => (tenant === 'a' ? 4 : 1))).toBeNull();
  });

  it('names nobody for what is soon done', () => {
    expect(crowderOf([block('a', 100_000)], alike)).toBeNull();
    expect(crowderOf([], alike)).toBeNull();
  });

  it('does not count what the main lane passes over anyway against a tenant', () => {
    const part = { tenant: 'a', size: 4 * MB, kind: 'part' as const };
    expect(crowderOf([part, block('b', MB)], alike)).toBeNull();
  });
});
