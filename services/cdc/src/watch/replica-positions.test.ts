import { type Lsn, lsn } from '@drover/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parsePosition, ReplicaPositions } from './replica-positions.ts';

const at = (n: number): Lsn => lsn(BigInt(n));
const LINEAGE = { systemId: '7', generation: 1 };
const said = (cluster: string, partition: number, n: number, more: object = {}) => ({
  cluster,
  database: 'app',
  partition,
  ...LINEAGE,
  lsn: at(n),
  waitingFor: null,
  ...more,
});
const of = (clusters: string[], partitions = 2) =>
  new ReplicaPositions({ partitions, expected: new Map([['app', clusters]]) });

describe('how far replicas have applied', () => {
  it('is the slowest of all that are expected, in all partitions', () => {
    const positions = of(['west', 'north']);
    for (const [cluster, partition, n] of [
      ['west', 0, 50],
      ['west', 1, 60],
      ['north', 0, 70],
    ] as const) {
      expect(positions.bound('app', LINEAGE)?.lsn).toBeNull(); // somebody has not spoken
      positions.learn(said(cluster, partition, n));
    }
    positions.learn(said('north', 1, 40, { waitingFor: 'acme (catchup)' }));
    const bound = positions.bound('app', LINEAGE);
    expect(bound).toEqual({
      lsn: 40n,
      heldBy: expect.stringMatching(/^north \(partition 1 .*acme \(catchup\)/),
    });
  });

  it('of another slot, or of a database nobody else has, says nothing', () => {
    const positions = of(['west'], 1);
    positions.learn(said('west', 0, 50, { generation: 2 }));
    expect(positions.bound('app', LINEAGE)?.lsn).toBeNull();
    positions.learn(said('west', 0, 900)); // late, of the slot before
    expect(positions.bound('app', { ...LINEAGE, generation: 2 })?.lsn).toBe(50n);
    expect(positions.bound('other', LINEAGE)).toBeUndefined();
  });

  it('never goes back, in whatever order the messages come', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 100 })), (order) => {
        const positions = of(['west'], 1);
        let highest = -1;
        for (const n of order) {
          positions.learn(said('west', 0, n));
          highest = Math.max(highest, n);
          expect(positions.bound('app', LINEAGE)?.lsn).toBe(BigInt(highest));
        }
      }),
    );
  });

  it('leaves alone what is not in form', () => {
    const bytes = (value: unknown) => Buffer.from(JSON.stringify(value));
    const good = { ...said('west', 0, 0), lsn: '0/32' };
    expect(parsePosition(bytes(good))).toMatchObject({ lsn: 50n });
    for (const bad of [{}, null, { ...good, lsn: 'x' }, { ...good, partition: '0' }])
      expect(parsePosition(bytes(bad))).toBeNull();
    expect(parsePosition(Buffer.from('{'))).toBeNull();
  });
});
