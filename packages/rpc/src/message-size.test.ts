import { describe, expect, it } from 'vitest';
import { TenantLagSchema } from './gen/drover/v1/replication_pb.js';
import { firstMessage, inMessages } from './message-size.ts';

const lag = (tenant: string) => ({ tenant });

describe('a list in messages', () => {
  it('keeps every item, in order, within the room', () => {
    const items = Array.from({ length: 100 }, (_, i) => lag('t'.repeat(i)));
    const parts = [...inMessages(TenantLagSchema, items, 200)];
    expect(parts.flat()).toEqual(items);
    expect(parts.length).toBeGreaterThan(10);
    for (const part of parts) {
      const bytes = part.reduce((sum, { tenant = '' }) => sum + tenant.length + 2, 0);
      expect(bytes).toBeLessThanOrEqual(200);
    }
  });

  it('has an item that is larger than the room alone, and nothing in nothing', () => {
    const items = [lag('a'), lag('b'.repeat(500)), lag('c')];
    expect([...inMessages(TenantLagSchema, items, 100)].map((part) => part.length)).toEqual([1, 1, 1]);
    expect(firstMessage(TenantLagSchema, items, 100)).toEqual([lag('a')]);
    expect(firstMessage(TenantLagSchema, items)).toEqual(items);
    expect(firstMessage(TenantLagSchema, [])).toEqual([]);
  });
});
