import { clusterId, tenantId, tenantToken } from '@drover/core';
import { describe, expect, it } from 'vitest';
import { checkServer, versionAtLeast } from './connect.ts';
import { FENCE_TOKEN, HEARTBEAT_TOKEN, parseSubject, streamName, subjectOf } from './names.ts';

const east = clusterId('east-1');

describe('names', () => {
  it('are what others rely on', () => {
    expect(streamName(east, 3)).toBe('DROVER_CDC_east-1_3');
    expect(subjectOf(east, 3, 'acme')).toBe('drover.cdc.east-1.3.acme');
  });

  it.each(['acme', 'a.b', 'Ünï', '42', 'x*>', ' '])('of tenant %j come back from the subject', (name) => {
    const token = tenantToken(tenantId(name));
    expect(parseSubject(subjectOf(east, 12, token))).toEqual({ cluster: 'east-1', partition: 12, token });
  });

  it.each(['drover.cdc.east.1', 'drover.cdc.east.x.a', 'drover.cdc.east.1.a.b', 'drover.events.a.1.b', ''])(
    'are not found in %j',
    (subject) => expect(parseSubject(subject)).toBeUndefined(),
  );

  it('that are Drover’s own can be no tenant’s', () => {
    for (const token of [FENCE_TOKEN, HEARTBEAT_TOKEN]) expect(() => tenantId(token)).toThrow();
  });
});

describe('a server', () => {
  it.each([
    ['2.10.0', 2, 10, true],
    ['v2.15.1', 2, 12, true],
    ['2.9.25', 2, 10, false],
    ['2.12.0-RC.1', 2, 12, true],
    ['3.0.0', 2, 12, true],
    ['nonsense', 2, 10, false],
  ])('of version %s is at least %i.%i: %s', (version, major, minor, yes) => {
    expect(versionAtLeast(version, major, minor)).toBe(yes);
  });

  it('that is too old, or without JetStream, is refused with advice', () => {
    expect(() => checkServer('2.9.10', true)).toThrow(
      expect.objectContaining({ code: 'bus.version', hint: expect.stringMatching(/2\.10/) }),
    );
    expect(() => checkServer('2.15.1', false)).toThrow(
      expect.objectContaining({ code: 'bus.version', hint: expect.stringMatching(/jetstream/) }),
    );
    checkServer('2.10.0', true);
  });
});
