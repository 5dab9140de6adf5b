/**
 * Is a cluster dead? Pure: observations in, a verdict out. The verdict asks for several *different* signals, seen
 * failing by several observers, for a while, with nobody who can still work on the cluster (faults 5, 6, 7, 11).
 */
import type { ClusterId } from '@drover/core';

export type SignalState = 'ok' | 'fail' | 'unknown';

/** What one observer reports about one cluster, published on `drover.health.<observer>`. */
export interface Observation {
  readonly observer: string;
  /** proxy, cdc, apply or failover. */
  readonly kind: string;
  readonly cluster: ClusterId;
  /** Signal name to state, e.g. `{connect: 'fail', query: 'fail'}`. */
  readonly signals: Readonly<Record<string, SignalState>>;
}

export interface HealthPolicy {
  readonly minSignals: number;
  readonly minObservers: number;
  /** The failure must have lasted this long without a break. */
  readonly graceMs: number;
  /** An observation older than this says nothing. */
  readonly staleMs: number;
}

export interface Verdict {
  readonly state: 'up' | 'suspect' | 'dead' | 'unknown';
  /** `kind.signal` names that fail now. */
  readonly failing: readonly string[];
  /** Observers that see at least one failure. */
  readonly observers: readonly string[];
  /** How long the quorum of failures has lasted. */
  readonly forMs: number;
  /** Weight of the healthy signals, 0 to 100: ranks and warns, never promotes. */
  readonly score: number;
  /** While something fails: what is missing for the cluster to count as dead. */
  readonly lacking: readonly string[];
}

interface Seen {
  readonly observation: Observation;
  readonly at: number;
}

export class ClusterHealth {
  readonly #policy: HealthPolicy;
  readonly #seen = new Map<ClusterId, Map<string, Seen>>();
  /** Since when the failing quorum holds without a break, per cluster. */
  readonly #since = new Map<ClusterId, number>();

  constructor(policy: HealthPolicy) {
    this.#policy = policy;
  }

  observe(observation: Observation, now: number): void {
    let observers = this.#seen.get(observation.cluster);
    if (observers === undefined) {
      observers = new Map();
      this.#seen.set(observation.cluster, observers);
    }
    observers.set(observation.observer, { observation, at: now });
    this.judge(observation.cluster, now);
  }

  /** @param now monotonic milliseconds, as given to {@link observe}. */
  judge(cluster: ClusterId, now: number): Verdict {
    const failing = new Set<string>();
    const observers = new Set<string>();
    const working = new Set<string>();
    let ok = 0;
    let known = 0;
    const seen = this.#seen.get(cluster);
    for (const [name, { observation, at }] of seen ?? []) {
      if (now - at > this.#policy.staleMs) {
        seen?.delete(name); // observers come and go under new names
        continue;
      }
      for (const [signal, state] of Object.entries(observation.signals)) {
        if (state === 'ok') {
          ok++;
          working.add(name);
        } else if (state === 'fail') {
          failing.add(`${observation.kind}.${signal}`);
          observers.add(name);
        } else continue;
        known++;
      }
    }
    const { minSignals, minObservers, graceMs } = this.#policy;
    const quorum = failing.size >= minSignals && observers.size >= minObservers && ok === 0;
    if (!quorum) this.#since.delete(cluster);
    else if (!this.#since.has(cluster)) this.#since.set(cluster, now);
    const forMs = quorum ? now - (this.#since.get(cluster) ?? now) : 0;
    const lacking: string[] = [];
    if (failing.size < minSignals) lacking.push(`${failing.size} of ${minSignals} signals fail`);
    if (observers.size < minObservers) lacking.push(`${observers.size} of ${minObservers} observers see it`);
    if (ok > 0) lacking.push(`it still works for ${[...working].sort().join(', ')}`);
    if (quorum && forMs < graceMs) lacking.push(`it has lasted ${Math.round(forMs)} of ${graceMs} ms`);
    return {
      state: known === 0 ? 'unknown' : failing.size === 0 ? 'up' : lacking.length === 0 ? 'dead' : 'suspect',
      failing: [...failing].sort(),
      observers: [...observers].sort(),
      forMs,
      score: known === 0 ? 0 : Math.round((100 * ok) / known),
      lacking: failing.size === 0 ? [] : lacking,
    };
  }
}
