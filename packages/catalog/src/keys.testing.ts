/** What the tests of keys share: a server with one bucket, master keys in memory, and a bucket whose owner dies at a step. */
import { type Bus, connectBus } from '@drover/bus';
import { type TenantId, tenantId } from '@drover/core';
import { type TestNats, testNats } from '@drover/testkit';
import { KeyBucket } from './keys-bucket.ts';
import { MasterKeys, newMasterKey } from './keys-master.ts';
import { KeyRing, type KeyRingOptions } from './keys-ring.ts';
import { KeyStore } from './keys-store.ts';

export const FIRST = newMasterKey(1);
export const SECOND = newMasterKey(2);

export function masters(...lines: string[]): MasterKeys {
  return new MasterKeys(() => lines.join('\n'));
}

let tenants = 0;
export const fresh = (): TenantId => tenantId(`tenant ${tenants++}`);

export class Died extends Error {}

export class KeyWorld {
  readonly nats: TestNats;
  readonly bus: Bus;
  readonly bucket: KeyBucket;

  private constructor(nats: TestNats, bus: Bus, bucket: KeyBucket) {
    this.nats = nats;
    this.bus = bus;
    this.bucket = bucket;
  }

  static async start(): Promise<KeyWorld> {
    const nats = await testNats();
    const bus = await connectBus({ url: nats.url, name: 'test' });
    return new KeyWorld(nats, bus, await KeyBucket.open(bus, { replicas: 1 }));
  }

  async close(): Promise<void> {
    await this.bus.close();
    await this.nats.stop();
  }

  store(master: MasterKeys = masters(FIRST)): KeyStore {
    return new KeyStore(this.bucket, master);
  }

  ring(options: Partial<KeyRingOptions> = {}): Promise<KeyRing> {
    return KeyRing.open(this.bus, { replicas: 1, master: masters(FIRST), ...options });
  }

  /** A store whose owner dies right before its `step`-th write, counted from 1. */
  async dying(step: number, master: MasterKeys = masters(FIRST)): Promise<KeyStore> {
    const bucket = await KeyBucket.open(this.bus, { replicas: 1 });
    let done = 0;
    const mortal = <A extends unknown[], R>(act: (...args: A) => Promise<R>) => {
      return async (...args: A): Promise<R> => {
        if (++done >= step) throw new Died('killed');
        return act(...args);
      };
    };
    const { records } = bucket;
    records.create = mortal(records.create.bind(records));
    records.update = mortal(records.update.bind(records));
    bucket.erase = mortal(bucket.erase.bind(bucket));
    return new KeyStore(bucket, master);
  }
}
