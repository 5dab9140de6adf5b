/** What `doctor` and `setup` do about the bus. */
import {
  type Bus,
  checkDurability,
  connectBus,
  type DurabilityFinding,
  ensureStream,
  lacksRoom,
  type StorageNeed,
  type StreamPlan,
  storageNeed,
} from '@drover/bus';
import { openCatalog } from '@drover/catalog';
import type { Config } from '@drover/config';
import { DroverError, describeError } from '@drover/core';
import type { Finding } from '@drover/pg';
import type { Output } from '../output/terminal.ts';
import { keyFindings } from './key-findings.ts';

const HINT = 'lower [nats] max_bytes or partitions, or give the server more storage';

export async function checkNats(config: Config): Promise<Finding[]> {
  const { url } = config.nats;
  try {
    const bus = await connectBus(natsOf(config, 'drover doctor'));
    try {
      return [
        ...(await checkDurability(bus, config.nats)).map(findingOf),
        storageFinding(url, await needOf(bus, config)),
        ...(await keyFindings(bus, config)),
      ];
    } finally {
      await bus.close();
    }
  } catch (error) {
    return [{ severity: 'error', code: 'nats', object: url, message: describeError(error) }];
  }
}

function findingOf({ severity, code, object, message, hint }: DurabilityFinding): Finding {
  return { severity, code, object, message: hint === undefined ? message : `${message}; ${hint}` };
}

function storageFinding(url: string, need: StorageNeed): Finding {
  const short = lacksRoom(need);
  return {
    severity: short ? 'error' : 'ok',
    code: 'nats_storage',
    object: url,
    message: `${describeNeed(need)}${short ? `: too little; ${HINT}` : ''}`,
  };
}

export async function setupNats(config: Config, out: Output): Promise<void> {
  const bus = await connectBus(natsOf(config, 'drover setup'));
  try {
    await makeStreams(bus, config, out);
  } finally {
    await bus.close();
  }
}

/** Streams and buckets. What the streams need in all is told before the first is made. @throws DroverError `bus.*` */
export async function makeStreams(bus: Bus, config: Config, out: Output): Promise<void> {
  const { url, replicas, partitions, maxBytes, maxAgeMs } = config.nats;
  const need = await needOf(bus, config);
  out.line(`  nats: ${describeNeed(need)}`);
  if (lacksRoom(need)) throw tooLittle(need);
  try {
    for (const { name: cluster } of config.clusters) {
      for (let partition = 0; partition < partitions; partition++)
        await ensureStream(bus, { cluster, partition, replicas, maxBytes, maxAgeMs });
    }
  } catch (error) {
    throw error instanceof DroverError && error.code === 'bus.full' ? tooLittle(need, error) : error;
  }
  await (await openCatalog(bus, { replicas })).close();
  const { streams, neededBytes, reservedBytes, limitBytes } = need;
  out.result(
    { event: 'setup', nats: url, streams, neededBytes, reservedBytes, limitBytes },
    () => `nats: ${streams} streams`,
  );
}

function needOf(bus: Bus, config: Config): Promise<StorageNeed> {
  const { partitions, replicas, maxBytes } = config.nats;
  const plan: StreamPlan = {
    clusters: config.clusters.map((cluster) => cluster.name),
    partitions,
    replicas,
    maxBytes,
  };
  return storageNeed(bus, plan);
}

function tooLittle(need: StorageNeed, cause?: DroverError): DroverError {
  return new DroverError('bus.full', `the server cannot hold the streams: ${describeNeed(need)}`, {
    hint: HINT,
    ...(cause === undefined ? {} : { cause }),
  });
}

/** The storage that is needed, beside what there is. */
export function describeNeed(need: StorageNeed): string {
  const { streams, neededBytes, moreBytes, reservedBytes, limitBytes } = need;
  const needed = `${streams} streams may hold ${gib(neededBytes)} in all, ${gib(moreBytes)} more than now`;
  const reserved = `${gib(reservedBytes)} set aside`;
  return limitBytes === null
    ? `${needed}; the server has ${reserved}, and its max_file_store is the limit (by default three quarters of its free disk)`
    : `${needed}; the account has ${gib(limitBytes)}, of which ${reserved}`;
}

function gib(bytes: number): string {
  const n = bytes / 1024 ** 3;
  return `${Number(n >= 10 ? n.toFixed(0) : n.toPrecision(2))} GiB`;
}

export function natsOf(
  config: Config,
  name: string,
): { url: string; user?: string; password?: string; name: string } {
  const { url, user, password } = config.nats;
  return { url, name, ...(user === undefined ? {} : { user, password: password ?? '' }) };
}
