import { DroverError } from '@drover/core';
import { describe, expect, it } from 'vitest';
import { createLogger, type LogLevel } from './logger.ts';

function logger(level: LogLevel = 'info') {
  const lines: Record<string, unknown>[] = [];
  const log = createLogger({ service: 's', level, sink: (line) => lines.push(JSON.parse(line)) });
  return { log, lines };
}

describe('the log', () => {
  it('is one JSON object a line, from its level on, with the fields of its parents', () => {
    const { log, lines } = logger();
    const child = log.child({ tenant: 'acme' });
    child.debug('not shown');
    child.info('block applied', { lsn: 12n });
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({
      level: 'info',
      service: 's',
      message: 'block applied',
      tenant: 'acme',
      lsn: '12',
    });
    expect(new Date(String(lines[0]?.['at'])).getTime()).toBeGreaterThan(0);
  });

  it('tells an error with its code, its causes and its facts', () => {
    const { log, lines } = logger();
    const cause = new Error('connect ECONNREFUSED');
    log.warn('gone', {
      error: new DroverError('pg.unreachable', 'cannot connect', { cause, facts: { port: 5 } }),
      plain: new Error('x'),
    });
    expect(lines[0]).toMatchObject({
      error: { code: 'pg.unreachable', message: 'cannot connect (connect ECONNREFUSED)', facts: { port: 5 } },
      plain: { name: 'Error', message: 'x' },
    });
  });

  it('does not let fields displace what every line has, nor bytes fill it', () => {
    const { log, lines } = logger();
    log.info('true', { message: 'false', level: 'debug', service: 'x', block: Buffer.alloc(1000) });
    expect(lines[0]).toMatchObject({ message: 'true', level: 'info', service: 's', block: '<1000 bytes>' });
  });

  it('never throws', () => {
    const { log, lines } = logger();
    const self: Record<string, unknown> = {};
    self['self'] = self;
    log.error('still told', { self });
    expect(lines[0]).toMatchObject({ message: 'still told', unprintable: expect.any(String) });
  });
});
