import { CATALOGUE, DroverError, type ErrorCode } from '@drover/core';
import * as grpc from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { feed, ledgerStatus, moveStep, replicaState } from './enums.ts';
import { Feed, MoveStep } from './index.ts';
import { fromStatus, RETRYABLE, statusCodeOf, toStatus } from './status.ts';

function across(error: DroverError): DroverError {
  const { code, details, metadata } = toStatus(error);
  return fromStatus(Object.assign(new Error(`${code} ${details}`), { code, details, metadata }), 'host:1');
}

describe('errors across gRPC', () => {
  it.each(Object.keys(CATALOGUE) as ErrorCode[])('keep their code: %s', (code) => {
    const error = across(new DroverError(code, 'text ünïcode', { hint: 'do – this' }));
    expect(error).toMatchObject({
      code,
      message: 'text ünïcode',
      hint: 'do – this',
      disposition: CATALOGUE[code].disposition,
    });
  });

  it('tell their causes, and no facts', () => {
    const error = across(
      new DroverError('pg.unreachable', 'cannot connect', {
        cause: new Error('ECONNREFUSED'),
        facts: { password: 'hush' },
      }),
    );
    expect(error.message).toBe('cannot connect (ECONNREFUSED)');
    expect(error.facts).toEqual({});
  });

  it('have statuses that say whether to try again', () => {
    expect(RETRYABLE.has(statusCodeOf('bus.unreachable'))).toBe(true);
    expect(RETRYABLE.has(statusCodeOf('failover.not_leader'))).toBe(true);
    expect(RETRYABLE.has(statusCodeOf('tenant.unknown'))).toBe(false);
    expect(RETRYABLE.has(statusCodeOf('rpc.invalid'))).toBe(false);
    expect(statusCodeOf('internal.assertion')).toBe(grpc.status.INTERNAL);
    expect(toStatus(new TypeError('x'))).toMatchObject({ code: grpc.status.INTERNAL, details: 'x' });
  });

  it('of other servers are ours too', () => {
    const foreign = (code: grpc.status, metadata = new grpc.Metadata()) =>
      fromStatus(Object.assign(new Error('x'), { code, details: 'x', metadata }), 'host:1');
    expect(foreign(grpc.status.UNAVAILABLE)).toMatchObject({ code: 'rpc.unavailable', message: /host:1/ });
    expect(foreign(grpc.status.CANCELLED).code).toBe('internal.cancelled');
    expect(foreign(grpc.status.UNIMPLEMENTED).code).toBe('rpc.invalid');
    expect(foreign(grpc.status.DATA_LOSS).code).toBe('internal.assertion');
    const newer = new grpc.Metadata();
    newer.set('drover-code', 'toString');
    newer.set('drover-hint', '%');
    expect(foreign(grpc.status.UNAVAILABLE, newer).code).toBe('rpc.unavailable');
    expect(fromStatus('nonsense', 'host:1').code).toBe('internal.assertion');
  });
});

describe('enums at the edge', () => {
  it('go both ways', () => {
    expect(feed.toWord(feed.toProto('catchup'))).toBe('catchup');
    expect(moveStep.fromText('drain')).toBe(MoveStep.DRAIN);
    expect(replicaState.toWord(0)).toBeUndefined();
    expect(ledgerStatus.toWord(99 as never)).toBeUndefined();
    expect([feed.fromText('strange'), feed.fromText(null), feed.fromText('toString')]).toEqual([
      Feed.UNSPECIFIED,
      Feed.UNSPECIFIED,
      Feed.UNSPECIFIED,
    ]);
  });
});
