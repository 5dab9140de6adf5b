/** Opens the keys for a service that waits for NATS rather than ends. */
import type { Bus } from '@drover/bus';
import { DroverError, isCancelled, sleep } from '@drover/core';
import { KeyRing, type KeyRingOptions } from './keys-ring.ts';

const AGAIN_MS = 500;

/** Undefined when the signal aborts first. @throws DroverError that waiting does not mend: `bus.version` */
export async function openKeyRing(
  bus: Bus,
  options: KeyRingOptions,
  signal: AbortSignal,
): Promise<KeyRing | undefined> {
  for (let attempt = 1; !signal.aborted; attempt++) {
    try {
      return await KeyRing.open(bus, options, signal);
    } catch (error) {
      if (isCancelled(error)) break;
      if (!(error instanceof DroverError) || error.disposition !== 'retry') throw error;
      if (attempt === 1) options.onTrouble?.(error);
      await sleep(AGAIN_MS, signal);
    }
  }
  return undefined;
}
