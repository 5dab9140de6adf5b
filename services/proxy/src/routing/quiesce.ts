/**
 * Answers `drover.proxy.quiesce`: this proxy knows of the move and has none of the tenant's transactions in flight. Once it has answered, none
 * begins before the placement changes again, because the view it decides by already shows the move.
 */
import type { Bus } from '@drover/bus';
import type { Closeable } from '@drover/core';
import type { TenantBook } from './tenant-book.ts';

export const QUIESCE_SUBJECT = 'drover.proxy.quiesce';

export interface QuiescePorts {
  /** What this proxy is called in the leases. */
  name(): string;
  readonly book: TenantBook;
  /** How far the placement view has come. */
  revision(): number;
  /** Calls back after each change of the view; returns how to stop. */
  onChange(listener: () => void): () => void;
}

interface Ask {
  readonly tenant: string;
  readonly revision: number;
  readonly reply: () => void;
}

/** Asks waiting for an answer at once; whoever asks repeats itself. */
const ASKS_MAX = 10_000;

export class Quiesce {
  readonly #ports: QuiescePorts;
  readonly #asks = new Map<string, Ask>();
  readonly #off: () => void;
  readonly #looks = (): void => this.#look();

  constructor(ports: QuiescePorts) {
    this.#ports = ports;
    this.#off = ports.onChange(this.#looks);
  }

  /** @param key tells repetitions of one question apart from others. */
  ask(key: string, tenant: string, revision: number, reply: () => void): void {
    const ask: Ask = { tenant, revision, reply };
    if (this.#answered(ask)) return;
    if (this.#asks.has(key) || this.#asks.size >= ASKS_MAX) return;
    this.#asks.set(key, ask);
    this.#ports.book.find(tenant)?.onQuiet.add(this.#looks);
  }

  close(): void {
    this.#off();
    this.#asks.clear();
  }

  #answered(ask: Ask): boolean {
    if (this.#ports.revision() < ask.revision) return false;
    const record = this.#ports.book.find(ask.tenant);
    if (record !== undefined && record.inFlight > 0) return false;
    ask.reply();
    return true;
  }

  #look(): void {
    for (const [key, ask] of this.#asks) {
      if (this.#answered(ask)) this.#asks.delete(key);
      else this.#ports.book.find(ask.tenant)?.onQuiet.add(this.#looks);
    }
  }
}

export function serveQuiesce(bus: Bus, ports: QuiescePorts): Closeable {
  const quiesce = new Quiesce(ports);
  const subscription = bus.nc.subscribe(QUIESCE_SUBJECT, {
    callback: (error, message) => {
      const inbox = message?.reply;
      if (error !== null || inbox === undefined || inbox === '') return;
      let request: { tenant?: unknown; revision?: unknown };
      try {
        request = message.json();
      } catch {
        return;
      }
      const { tenant, revision } = request;
      if (typeof tenant !== 'string' || typeof revision !== 'number') return;
      quiesce.ask(`${inbox}/${tenant}`, tenant, revision, () => {
        bus.nc.publish(inbox, JSON.stringify({ proxy: ports.name(), tenant, quiet: true }));
      });
    },
  });
  return {
    close: async () => {
      quiesce.close();
      subscription.unsubscribe();
    },
  };
}
