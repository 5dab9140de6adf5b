/** What an operator sees of a running system, and the proof that tenants that have nothing to do with a fault do not notice it (I7). */
import { sleep } from '@drover/core';
import { expect } from 'vitest';
import { eventually, type System } from '../e2e/system.ts';
import { startWriters } from '../e2e/writers.ts';

export interface Feed {
  readonly tenant: string;
  readonly source: string;
  readonly target: string;
  readonly feed: string;
  readonly lagSeconds: number | null;
  readonly reason: string;
}

export interface Entry {
  readonly cluster: string;
  readonly id: number;
  readonly tenant: string;
  readonly kind: string;
  readonly status: string;
  readonly reason: string;
  readonly resolvedBy: string;
  readonly detail: unknown;
}

export interface Status {
  readonly ok: boolean;
  readonly clusters: { cluster: string; state: string; parked: number }[];
  readonly components: { name: string; ok: boolean; detail: string }[];
}

export interface TenantJson {
  readonly tenant: string;
  readonly primary: string;
  readonly epoch: number;
  readonly move: unknown;
}

/** A heartbeat a second is what lag is measured by, and a machine may stand still for some. Who is held up is so for as long as the work goes on. */
const LAG_MAX_SECONDS = 12;
const LOOK_EVERY_MS = 500;

export class Observer {
  readonly #system: System;

  constructor(system: System) {
    this.#system = system;
  }

  async feeds(): Promise<Feed[]> {
    return (await this.#system.json<{ lags: Feed[] }>('lag')).lags;
  }

  async feedOf(tenant: string): Promise<Feed | undefined> {
    return (await this.feeds()).find((feed) => feed.tenant === tenant);
  }

  openEntries(tenant: string): Promise<Entry[]> {
    return this.#system.json<Entry[]>('ledger', 'list', '--open', '--tenant', tenant);
  }

  /** The one open ledger entry of a tenant that is parked. */
  parked(tenant: string): Promise<Entry> {
    return eventually(`${tenant} is parked`, async () => {
      if ((await this.feedOf(tenant))?.feed !== 'parked') return undefined;
      const entries = await this.openEntries(tenant);
      expect(entries).toHaveLength(1);
      return entries[0];
    });
  }

  async live(tenant: string): Promise<void> {
    await eventually(`${tenant} is live`, async () =>
      (await this.feedOf(tenant))?.feed === 'live' ? true : undefined,
    );
  }

  /** `drover status`, which answers "no" by its exit code, too. */
  async status(): Promise<Status> {
    const answer = await this.#system.drover('status', '--json');
    const status = JSON.parse(answer.stdout) as Status;
    expect(answer.code).toBe(status.ok ? 0 : 3);
    return status;
  }

  component(status: Status, name: string): Status['components'][number] | undefined {
    return status.components.find((component) => component.name === name);
  }

  /** Text of /readyz once it says no, and matches. */
  notReady(service: string, why: RegExp, timeoutMs = 120_000): Promise<string> {
    return eventually(
      `${service} is not ready: ${why}`,
      async () => {
        const { status, text } = await this.#system.ask(service, 'readyz');
        return status === 503 && why.test(text) ? text : undefined;
      },
      timeoutMs,
    );
  }

  async ready(service: string, timeoutMs = 120_000): Promise<void> {
    await eventually(
      `${service} is ready`,
      async () => ((await this.#system.ask(service, 'readyz')).status === 200 ? true : undefined),
      timeoutMs,
    );
  }

  async allEqual(): Promise<void> {
    const answer = await this.#system.drover('verify', '--all');
    expect(answer.stdout + answer.stderr).toMatch(/\d tenants equal/);
    expect(answer.code).toBe(0);
  }

  async homes(): Promise<Record<string, string>> {
    const tenants = await this.#system.json<TenantJson[]>('tenant', 'list');
    return Object.fromEntries(
      tenants.map((t) => [t.tenant, `${t.primary} ${t.epoch} ${JSON.stringify(t.move ?? 'active')}`]),
    );
  }

  /** The others write while `work` runs; not one write of theirs fails, and their replicas never fall behind. */
  async whileOthersGoOn(others: readonly string[], work: () => Promise<void>): Promise<void> {
    const writers = startWriters(this.#system.ready.proxy, others);
    const samples: number[] = [];
    const watching = new AbortController();
    const watch = async () => {
      for (let looks = 0; looks < 2 || !watching.signal.aborted; looks++) {
        for (const lag of await this.feeds()) {
          if (!others.includes(lag.tenant)) continue;
          expect(`${lag.tenant} ${lag.feed}`).toBe(`${lag.tenant} live`);
          samples.push(lag.lagSeconds ?? Number.POSITIVE_INFINITY);
        }
        await sleep(LOOK_EVERY_MS, watching.signal);
      }
    };
    const outcomes = await Promise.allSettled([work().finally(() => watching.abort()), watch()]);
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failed === undefined) {
      await eventually('the others go on', async () =>
        writers.books.every((book) => book.outcomes.length > 20) ? true : undefined,
      );
    }
    await writers.stop();
    if (failed !== undefined) throw failed.reason;
    expect(samples.length).toBeGreaterThan(others.length);
    expect(Math.max(...samples)).toBeLessThan(LAG_MAX_SECONDS);
    for (const { tenant, outcomes: writes } of writers.books) {
      expect(writes.filter((o) => o.result !== 'ok')).toEqual([]);
      expect(writes.length, tenant).toBeGreaterThan(20);
    }
  }
}
