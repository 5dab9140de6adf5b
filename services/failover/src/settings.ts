/** Whether automatic failover is paused, and by whom: a decision of people, kept in the bucket `drover_settings`, followed by every controller. */
import { type Bus, Kv, publishEvent } from '@drover/bus';
import { isRecord } from './moves/is-record.ts';

export interface Pause {
  readonly paused: boolean;
  readonly by: string;
  /** ISO time. */
  readonly at: string;
}

const KEY = 'failover';
const NEVER: Pause = { paused: false, by: 'nobody', at: '' };

export class PauseSwitch {
  readonly #kv: Kv<Pause>;
  readonly #bus: Bus;
  readonly #synced = Promise.withResolvers<void>();
  #now = NEVER;

  private constructor(bus: Bus, kv: Kv<Pause>) {
    this.#bus = bus;
    this.#kv = kv;
    this.#synced.promise.catch(() => undefined);
  }

  static async open(bus: Bus, replicas: number): Promise<PauseSwitch> {
    return new PauseSwitch(bus, await Kv.open<Pause>(bus, 'drover_settings', { replicas }));
  }

  get now(): Pause {
    return this.#now;
  }

  /** Resolves when what was decided before is known. */
  get synced(): Promise<void> {
    return this.#synced.promise;
  }

  /** Until the signal aborts. */
  async follow(signal: AbortSignal): Promise<void> {
    try {
      for await (const change of this.#kv.watch(signal)) {
        if (change.synced) this.#synced.resolve();
        else if (change.key === KEY) this.#now = change.value ?? NEVER;
      }
    } finally {
      this.#synced.resolve(); // nobody waits for what does not come
    }
  }

  /** In force here when it resolves; everywhere else within moments. `request.by` says who. */
  async set(paused: boolean, request: unknown): Promise<Pause> {
    const by = isRecord(request) && typeof request['by'] === 'string' ? request['by'] : 'unknown';
    const value: Pause = { paused, by, at: new Date().toISOString() };
    if (paused) this.#now = value; // nothing may begin once the answer is out
    await this.#kv.put(KEY, value);
    this.#now = value;
    publishEvent(this.#bus, paused ? 'failover.paused' : 'failover.resumed', { by });
    return value;
  }
}
