import { describe, expect, it } from 'vitest';
import { judgeVarz, versionFinding } from './durability.ts';

const varz = (config: object) => ({ jetstream: { config: { store_dir: '/x', ...config } } });

describe('what a server says of itself', () => {
  it('carries nats-fsync only when it fsyncs each message', () => {
    expect(judgeVarz('m', varz({ sync_always: true, sync_interval: 120e9 }), 'nats-fsync').severity).toBe(
      'ok',
    );
    expect(judgeVarz('m', varz({ sync_interval: 10e9 }), 'nats-fsync')).toMatchObject({
      severity: 'warning',
      message: expect.stringContaining('every 10 s'),
    });
    expect(judgeVarz('m', varz({}), 'nats-fsync').message).toContain('every 120 s');
    expect(judgeVarz('m', varz({ sync_interval: 10e9 }), 'applied').severity).toBe('ok');
  });

  it('without JetStream, or in no known form, is told', () => {
    for (const answer of [null, 'x', {}, { jetstream: {} }])
      expect(judgeVarz('m', answer, 'applied')).toMatchObject({ severity: 'warning' });
  });

  it('is recommended from 2.14.4 on', () => {
    const of = (version: string) => versionFinding('m', version).severity;
    expect(['2.10.0', '2.14.3', '2.9.99'].map(of)).toEqual(['warning', 'warning', 'warning']);
    expect(['2.14.4', '2.14.10', '2.15.0-RC.1', '3.0.0'].map(of)).toEqual(['ok', 'ok', 'ok', 'ok']);
  });
});
