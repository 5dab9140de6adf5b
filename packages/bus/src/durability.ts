/**
 * What the servers keep of the policy of durability (`[nats] durability`). A client's connection shows the server's version and the streams'
 * settings; `sync_interval` stands only in the monitoring endpoint (`/varz`), which is asked where one is configured. What cannot be
 * known is said to be so.
 */
import { DroverError, describeError } from '@drover/core';
import { busError } from './bus-error.ts';
import { type Bus, versionAtLeast } from './connect.ts';

export interface DurabilityOptions {
  readonly durability: 'nats-fsync' | 'applied';
  /** Copies asked for. */
  readonly replicas: number;
  /** `http://host:port`, several separated by commas. */
  readonly monitor: string | undefined;
}

export interface DurabilityFinding {
  readonly severity: 'warning' | 'ok';
  readonly code: string;
  /** The server, or the stream. */
  readonly object: string;
  readonly message: string;
  readonly hint?: string;
}

const RECOMMENDED = '2.14.4';
const PATIENCE_MS = 3000;
/** Whoever has lost power has lost what was written since the last fsync: NATS' own default is two minutes. */
const DEFAULT_SYNC_NS = 120e9;

/** @throws DroverError `bus.unreachable` */
export async function checkDurability(bus: Bus, options: DurabilityOptions): Promise<DurabilityFinding[]> {
  const url = bus.nc.getServer();
  return [
    versionFinding(url, bus.serverVersion),
    ...copiesFindings(url, options),
    ...(await syncFindings(url, options)),
    ...(await streamFindings(bus, options)),
  ];
}

/** Pure. */
export function versionFinding(object: string, version: string): DurabilityFinding {
  const [major = 0, minor = 0, patch = 0] = version.split('.').map((part) => Number.parseInt(part, 10));
  const recommended = versionAtLeast(version, 2, 15) || (major === 2 && minor === 14 && patch >= 4);
  return recommended
    ? { severity: 'ok', code: 'nats_version', object, message: `nats-server ${version} with JetStream` }
    : {
        severity: 'warning',
        code: 'nats_version',
        object,
        message: `nats-server ${version}; ${RECOMMENDED} or newer is recommended (fixes of the file store and of Raft)`,
      };
}

function copiesFindings(object: string, { durability, replicas }: DurabilityOptions): DurabilityFinding[] {
  if (durability === 'applied' || replicas >= 3) return [];
  return [
    {
      severity: 'warning',
      code: 'nats_replicas',
      object,
      message: `durability "nats-fsync" with ${replicas} ${replicas === 1 ? 'copy' : 'copies'} of each stream: a disk that is lost takes what replicas have not applied yet`,
      hint: 'set [nats] replicas = 3, or durability = "applied"',
    },
  ];
}

async function syncFindings(url: string, options: DurabilityOptions): Promise<DurabilityFinding[]> {
  const addresses = (options.monitor ?? '').split(',').flatMap((a) => (a.trim() === '' ? [] : [a.trim()]));
  if (addresses.length === 0) {
    if (options.durability === 'applied') return [];
    return [
      {
        severity: 'warning',
        code: 'nats_sync',
        object: url,
        message:
          'durability "nats-fsync" cannot be checked: whether the servers fsync each message is not told to clients',
        hint: 'set [nats] monitor to their monitoring addresses; sync_interval must be "always"',
      },
    ];
  }
  const findings = await Promise.all(addresses.map((address) => syncFinding(address, options)));
  if (options.durability === 'nats-fsync' && addresses.length < options.replicas) {
    findings.push({
      severity: 'warning',
      code: 'nats_sync',
      object: url,
      message: `${addresses.length} of ${options.replicas} servers that hold a stream can be checked`,
      hint: 'name the monitoring address of each in [nats] monitor',
    });
  }
  return findings;
}

async function syncFinding(address: string, options: DurabilityOptions): Promise<DurabilityFinding> {
  try {
    const response = await fetch(`${address.replace(/\/+$/, '')}/varz`, {
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    return judgeVarz(address, await response.json(), options.durability);
  } catch (error) {
    return {
      severity: 'warning',
      code: 'nats_sync',
      object: address,
      message: `its settings cannot be read: ${describeError(error)}`,
      hint: 'correct [nats] monitor, or set `http_port` in the configuration of nats-server',
    };
  }
}

/** Of the answer of `/varz`. Pure. */
export function judgeVarz(
  object: string,
  varz: unknown,
  durability: DurabilityOptions['durability'],
): DurabilityFinding {
  const jetstream = table(table(varz)['jetstream']);
  const config = table(jetstream['config']);
  if (Object.keys(config).length === 0) {
    return { severity: 'warning', code: 'nats_sync', object, message: 'it says nothing of JetStream' };
  }
  if (config['sync_always'] === true)
    return {
      severity: 'ok',
      code: 'nats_sync',
      object,
      message: 'each message is fsynced (sync_interval always)',
    };
  const interval = typeof config['sync_interval'] === 'number' ? config['sync_interval'] : DEFAULT_SYNC_NS;
  const lazily = `it fsyncs every ${Number((interval / 1e9).toPrecision(3))} s`;
  if (durability === 'applied')
    return {
      severity: 'ok',
      code: 'nats_sync',
      object,
      message: `${lazily}; sources keep what replicas have not applied`,
    };
  return {
    severity: 'warning',
    code: 'nats_sync',
    object,
    message: `${lazily}: a loss of power takes what it acknowledged since, and the sources have let go of it`,
    hint: 'set `sync_interval: always` in jetstream {}, or durability = "applied"',
  };
}

async function streamFindings(bus: Bus, { replicas }: DurabilityOptions): Promise<DurabilityFinding[]> {
  const findings: DurabilityFinding[] = [];
  try {
    for await (const { config } of bus.jsm.streams.list('drover.cdc.>')) {
      const wrong = [
        config.storage === 'file' ? '' : `storage ${config.storage}`,
        config.discard === 'new' ? '' : `discard ${config.discard}: it loses its oldest messages when full`,
        config.deny_delete && config.deny_purge ? '' : 'messages may be deleted or purged',
        config.num_replicas >= replicas ? '' : `${config.num_replicas} copies instead of ${replicas}`,
        (config as { persist_mode?: string }).persist_mode === 'async'
          ? 'persist_mode async: never fsynced'
          : '',
        config.sealed ? 'it is sealed' : '',
      ].filter((what) => what !== '');
      if (wrong.length === 0) continue;
      findings.push({
        severity: 'warning',
        code: 'nats_stream',
        object: config.name,
        message: wrong.join('; '),
        hint: '`drover setup` mends what can be changed',
      });
    }
  } catch (error) {
    const known = busError(error, 'the streams cannot be read');
    if (!(known instanceof DroverError)) throw error;
    throw known;
  }
  return findings;
}

function table(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
