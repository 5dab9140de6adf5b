/**
 * How far the replicas have applied a cluster's changes, durably: what holds the slot back under `[nats] durability = "applied"`. Each apply
 * worker says once a second where each of its pipelines stands (`drover.durable.<source>`); who has not spoken since this process began has applied
 * nothing, as far as anybody knows. A cluster that is away, or a tenant that catches up, so keeps WAL on the source: bounded by
 * `max_slot_wal_keep_size`, watched and warned of (`slot-health.ts`).
 */
import type { Bus } from '@drover/bus';
import { type ClusterId, formatLsn, type Lsn, parseLsn } from '@drover/core';

export interface ReplicaPosition {
  readonly cluster: string;
  readonly database: string;
  readonly partition: number;
  readonly systemId: string;
  readonly generation: number;
  /** All that committed at or before it is applied, durably. */
  readonly lsn: Lsn;
  /** Who keeps it from moving on: a tenant that catches up or is held; null: nobody. */
  readonly waitingFor: string | null;
}

/** Of one slot. */
export interface Lineage {
  readonly systemId: string;
  readonly generation: number;
}

export interface Bound {
  /** The slot may be confirmed up to here; null: not at all yet. */
  readonly lsn: Lsn | null;
  /** Who holds it there, for a person. */
  readonly heldBy: string;
}

export class ReplicaPositions {
  readonly #partitions: number;
  /** By database: who must have applied. */
  readonly #expected: ReadonlyMap<string, readonly string[]>;
  readonly #known = new Map<string, ReplicaPosition>();
  readonly #listeners = new Set<() => void>();

  constructor(options: { partitions: number; expected: ReadonlyMap<string, readonly string[]> }) {
    this.#partitions = options.partitions;
    this.#expected = options.expected;
  }

  /** Until the signal aborts. */
  follow(bus: Bus, source: ClusterId, signal: AbortSignal): void {
    const subscription = bus.nc.subscribe(durableSubject(source), {
      callback: (error, message) => {
        const position = error === null ? parsePosition(message.data) : null;
        if (position !== null) this.learn(position);
      },
    });
    signal.addEventListener('abort', () => subscription.unsubscribe(), { once: true });
  }

  /** Called whenever a position has moved; returns how to stop. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Positions only grow within a lineage; a message that was overtaken by a newer one changes nothing. */
  learn(position: ReplicaPosition): void {
    const key = keyOf(position.cluster, position.database, position.partition);
    const known = this.#known.get(key);
    const same = known?.systemId === position.systemId && known.generation === position.generation;
    if (same && known.lsn > position.lsn) return;
    if (!same && known !== undefined && known.generation > position.generation) return;
    this.#known.set(key, position);
    for (const listener of Array.from(this.#listeners)) listener();
  }

  /** Undefined: nobody is waited for, the bus alone decides. */
  bound(database: string, lineage: Lineage): Bound | undefined {
    const clusters = this.#expected.get(database) ?? [];
    let least: { lsn: Lsn; heldBy: string } | undefined;
    for (const cluster of clusters) {
      for (let partition = 0; partition < this.#partitions; partition++) {
        const known = this.#known.get(keyOf(cluster, database, partition));
        if (known?.systemId !== lineage.systemId || known.generation !== lineage.generation)
          return { lsn: null, heldBy: `${cluster} (partition ${partition} has not said how far it is)` };
        if (least !== undefined && least.lsn <= known.lsn) continue;
        const waiting = known.waitingFor === null ? '' : `, waiting for ${known.waitingFor}`;
        least = {
          lsn: known.lsn,
          heldBy: `${cluster} (partition ${partition} at ${formatLsn(known.lsn)}${waiting})`,
        };
      }
    }
    return least;
  }
}

export function durableSubject(source: string): string {
  return `drover.durable.${source}`;
}

function keyOf(cluster: string, database: string, partition: number): string {
  return `${cluster}/${partition}/${database}`;
}

/** Null: not in form. */
export function parsePosition(data: Uint8Array): ReplicaPosition | null {
  try {
    const value = JSON.parse(Buffer.from(data).toString('utf8')) as Partial<
      Record<keyof ReplicaPosition, unknown>
    >;
    const { cluster, database, partition, systemId, generation, lsn, waitingFor } = value;
    if (typeof cluster !== 'string' || typeof database !== 'string' || typeof partition !== 'number')
      return null;
    if (typeof systemId !== 'string' || typeof generation !== 'number' || typeof lsn !== 'string')
      return null;
    return {
      cluster,
      database,
      partition,
      systemId,
      generation,
      lsn: parseLsn(lsn),
      waitingFor: typeof waitingFor === 'string' ? waitingFor : null,
    };
  } catch {
    return null;
  }
}
