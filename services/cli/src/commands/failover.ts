/** `drover failover status|pause|resume|history`. */
import { randomUUID } from 'node:crypto';
import { userInfo } from 'node:os';
import type { Config } from '@drover/config';
import { clusterState, FailoverService, timestampDate } from '@drover/rpc';
import { type Output, table } from '../output/terminal.ts';
import { withClient } from './client.ts';

const DEADLINE_MS = 15_000;

export function failoverStatus(config: Config, out: Output): Promise<void> {
  return withClient(config, FailoverService, async (client) => {
    const s = await client.getFailoverStatus({}, { deadlineMs: DEADLINE_MS });
    const clusters = s.clusters.map((c) => ({
      cluster: c.cluster,
      state: clusterState.toWord(c.state) ?? 'unknown',
      score: c.score,
      failing: c.failing,
      observers: c.observers,
    }));
    out.result({ leader: s.leader, auto: s.auto, paused: s.paused, clusters }, () =>
      [
        `leader ${s.leader}; automatic failover ${s.paused ? 'paused' : s.auto ? 'on' : 'off'}`,
        table(
          ['cluster', 'state', 'score', 'failing', 'seen by'],
          clusters.map((c) => [c.cluster, c.state, c.score, c.failing.join(' '), c.observers.join(' ')]),
        ),
      ].join('\n'),
    );
  });
}

export function failoverPaused(config: Config, paused: boolean, out: Output): Promise<void> {
  return withClient(config, FailoverService, async (client) => {
    const request = { requestId: randomUUID(), who: userInfo().username };
    const answer = paused
      ? await client.pauseFailover(request, { deadlineMs: DEADLINE_MS })
      : await client.resumeFailover(request, { deadlineMs: DEADLINE_MS });
    out.result(
      { paused: answer.paused },
      () => `automatic failover is ${answer.paused ? 'paused' : 'on again'}`,
    );
  });
}

export function failoverHistory(
  config: Config,
  args: { tenant: string | undefined; limit: number },
  out: Output,
): Promise<void> {
  return withClient(config, FailoverService, async (client) => {
    const { events } = await client.listFailoverHistory(
      { tenant: args.tenant ?? '', limit: args.limit },
      { deadlineMs: DEADLINE_MS },
    );
    const plain = events.map((e) => ({
      at: e.at === undefined ? '' : timestampDate(e.at).toISOString(),
      kind: e.kind,
      tenant: e.tenant,
      detail: JSON.parse(e.detail === '' ? '{}' : e.detail) as Record<string, unknown>,
    }));
    out.result(plain, () =>
      plain.length === 0
        ? 'nothing was moved'
        : table(
            ['at', 'what', 'tenant', 'detail'],
            plain.map((e) => [e.at, e.kind, e.tenant, JSON.stringify(e.detail).slice(0, 140)]),
          ),
    );
  });
}
