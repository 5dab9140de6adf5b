/** `drover tenant seal`, `drover key rotate|list|shred|rewrap|generate`: they speak with the bucket itself, and need the master key where they run. */
import { connectBus } from '@drover/bus';
import {
  type Catalog,
  KeyBucket,
  type KeyHead,
  KeyStore,
  MasterKeys,
  newMasterKey,
  openCatalog,
  type TenantKeys,
} from '@drover/catalog';
import type { Config } from '@drover/config';
import { DroverError, describeError, SHARED, type TenantId, tenantId } from '@drover/core';
import { type Output, table } from '../output/terminal.ts';
import { natsOf } from './nats.ts';

interface Keys {
  readonly store: KeyStore;
  /** Null: none is configured. */
  readonly master: MasterKeys | null;
  readonly catalog: Catalog;
}

/** `lenient`: the master key is not needed. @throws DroverError `key.master` when it is and there is none */
async function withKeys<T>(config: Config, work: (keys: Keys) => Promise<T>, lenient = false): Promise<T> {
  const master = lenient ? present(config) : MasterKeys.at(config.security.masterKey);
  const bus = await connectBus(natsOf(config, 'drover key'));
  try {
    const { replicas } = config.nats;
    const store = new KeyStore(await KeyBucket.open(bus, { replicas }), master);
    return await work({ store, master, catalog: await openCatalog(bus, { replicas }) });
  } finally {
    await bus.close();
  }
}

/** What the tenant writes from now on is sealed. @throws DroverError `tenant.unknown`, `key.shredding` */
export function tenantSeal(config: Config, name: string, out: Output): Promise<void> {
  return withKeys(config, async ({ store, catalog }) => {
    const tenant = tenantId(name);
    if (tenant !== SHARED && (await catalog.getTenant(tenant)) === null) throw unknownTenant(tenant);
    const { head, made } = await store.seal(tenant);
    out.result({ tenant, key: head.current, made }, () =>
      made
        ? `${tenant} is sealed under key ${head.current} from now on. What stands in the streams already stays as it is, until it leaves them ([nats] max_age).`
        : `${tenant} is sealed already, under key ${head.current}`,
    );
  });
}

/** Another key for one tenant, or for all that are sealed. Returns whether all went well. */
export function keyRotate(
  config: Config,
  which: { readonly tenant: string | undefined; readonly all: boolean },
  out: Output,
): Promise<boolean> {
  if ((which.tenant === undefined) !== which.all) {
    throw new DroverError('config.invalid', 'name a tenant with --tenant, or all with --all');
  }
  return withKeys(config, async ({ store }) => {
    if (which.tenant !== undefined) {
      rotated(tenantId(which.tenant), await store.rotate(tenantId(which.tenant)), out);
      return true;
    }
    let failed = 0;
    const sealed = (await store.list()).filter(({ head }) => head?.state === 'sealed');
    for (const { tenant } of sealed) {
      try {
        rotated(tenant, await store.rotate(tenant), out);
      } catch (error) {
        failed++;
        out.result({ tenant, error: describeError(error) }, () => `${tenant}: ${describeError(error)}`);
      }
    }
    if (sealed.length === 0) out.result({ rotated: 0 }, () => 'no tenant is sealed');
    return failed === 0;
  });
}

function rotated(tenant: TenantId, head: KeyHead, out: Output): void {
  out.result({ tenant, key: head.current }, () => `${tenant}: key ${head.current}`);
}

/** Needs no master key. */
export function keyList(config: Config, out: Output): Promise<void> {
  return withKeys(
    config,
    async ({ store, master }) => {
      const all = await store.list();
      const generations = master?.generations ?? [];
      const used = [...new Set(all.flatMap(({ keys }) => keys.map((key) => key.master)))].sort(
        (a, b) => a - b,
      );
      out.result({ tenants: all.map(plainKeys), master: { here: generations, used } }, () => {
        const rows = all.map((one) => {
          const { tenant, state, current, keys } = plainKeys(one);
          const newest = keys.at(-1);
          return [tenant, state, current, keys.length, newest?.createdAt ?? '', mastersOf(one)];
        });
        const head = ['tenant', 'state', 'key', 'keys', 'newest made', 'master'];
        return `${table(head, rows)}\n\nmaster keys here: ${generations.join(', ') || 'none'}; in use: ${used.join(', ') || 'none'}`;
      });
    },
    true,
  );
}

function plainKeys({ tenant, head, keys }: TenantKeys) {
  return {
    tenant,
    state: head?.state ?? 'no head',
    current: head?.current ?? 0,
    keys: keys.map(({ id, master, createdAt }) => ({ id, master, createdAt })),
  };
}

function mastersOf({ keys }: TenantKeys): string {
  return [...new Set(keys.map((key) => key.master))].join(', ');
}

/** What a shredding does not reach. Said before and after. */
const STAYS = [
  'rows in PostgreSQL, on every cluster that holds the tenant, with their ledger entries and backups',
  'blocks from before the tenant was sealed, until they leave the streams ([nats] max_age)',
  'names, times, sizes and texts of schema changes in headers and subjects',
  'backups of the bucket drover_keys, to whoever has them and the master key of then: `drover key generate`, `drover key rewrap`, then destroy the old generation',
];

/** Removes all keys of the tenant for good; needs no master key. @throws DroverError `config.invalid` without `yes`, `key.none` */
export function keyShred(config: Config, name: string, yes: boolean, out: Output): Promise<void> {
  return withKeys(
    config,
    async ({ store, catalog }) => {
      const tenant = tenantId(name);
      const placement = (await catalog.getPlacement(tenant))?.value;
      if (!yes) {
        throw new DroverError('config.invalid', `the keys of ${tenant} would be gone for good`, {
          hint: `--yes does it. It would not reach: ${STAYS.join('; ')}`,
        });
      }
      const erased = await store.shred(tenant);
      if (placement !== undefined) {
        out.line(
          `${tenant} is still served by ${placement.primary}. What it writes goes on being sealed, under a key that nobody keeps: its replicas stop. \`drover tenant seal ${tenant}\` gives it a new one; then copy them anew.`,
        );
      }
      out.result({ tenant, erased, stays: STAYS }, () =>
        [
          `${erased} keys of ${tenant} are gone; no block sealed under them can be opened any more. What stays readable:`,
          ...STAYS.map((text) => `  * ${text}`),
        ].join('\n'),
      );
    },
    true,
  );
}

/** Wraps all keys under the newest master key. Returns whether all could be. */
export function keyRewrap(config: Config, out: Output): Promise<boolean> {
  return withKeys(config, async ({ store, master }) => {
    const { wrapped, refused } = await store.rewrap();
    const generation = master?.newest.generation ?? 0;
    out.result({ wrapped, generation, refused }, () => {
      const done = `${wrapped} keys wrapped anew under generation ${generation} of the master key`;
      if (refused.length === 0) return `${done}; all are under it, older generations are needed no more`;
      const missing = refused.map(({ tenant, id, master: by }) => `  ${tenant} ${id} (generation ${by})`);
      return `${done}; no master key at hand unwraps these:\n${missing.join('\n')}`;
    });
    return refused.length === 0;
  });
}

/** A line for the file or variable of master keys, of the generation after those that are there. */
export function keyGenerate(config: Config, out: Output): void {
  const generation = Math.max(0, ...(present(config)?.generations ?? [])) + 1;
  const line = newMasterKey(generation);
  out.result({ generation, line }, () => line);
}

/** Null: there is none yet, as when the first is to be made. */
function present(config: Config): MasterKeys | null {
  try {
    return MasterKeys.at(config.security.masterKey);
  } catch (error) {
    if (error instanceof DroverError && error.code === 'key.master') return null;
    throw error;
  }
}

function unknownTenant(tenant: TenantId): DroverError {
  return new DroverError('tenant.unknown', `there is no tenant ${tenant}`, {
    hint: '`drover tenant list` shows the known ones',
  });
}
