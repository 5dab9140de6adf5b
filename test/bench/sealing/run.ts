/**
 * What sealing costs: blocks written and read, sealed and not, by stored size. The bodies are not compressed, so that what is measured is what sealing adds;
 * it comes after compression, so its bytes are the stored ones. No server takes part.
 */
import { createSecretKey, randomBytes } from 'node:crypto';
import {
  type BlockVisitor,
  BlockWriter,
  Opener,
  Packer,
  type Relation,
  Sealer,
  walkBlock,
} from '@drover/block';
import { clusterId, epoch, type Lsn, tenantId } from '@drover/core';
import { cpuMs } from '../compression/sizes.ts';
import type { BenchContext, BenchResult } from '../data/run.ts';
import { summarize } from '../lib/report.ts';

const ROW_BYTES = 100;
const SIZES: Readonly<Record<string, number>> = { '2 KB': 2048, '64 KB': 65_536, '256 KB': 262_144 };
/** Of one series. */
const SERIES_BYTES = 128 * 1024 * 1024;
const BLOCKS_MAX = 20_000;
const PEER_NAME = 'not sealed';

const TABLE: Relation = { oid: 1, schema: 'public', name: 'orders', identity: 'd', columns: [] };
const META = {
  source: clusterId('east'),
  database: 'app',
  tenant: tenantId('tenant-0001'),
  epoch: epoch(1),
  systemId: '7300000000000000001',
  generation: 1,
  firstLsn: 1n as Lsn,
  lastLsn: 1n as Lsn,
  part: 0,
  complete: true,
  commitTimeUs: 0n,
};
const NOTHING = { relation() {}, begin() {}, insert() {} } as unknown as BlockVisitor; // the blocks hold nothing else

/** CPU microseconds a block. */
interface Cost {
  readonly write: number;
  readonly read: number;
}

export async function benchSealing({ options, signal, say }: BenchContext): Promise<BenchResult> {
  const key = { id: 1, secret: createSecretKey(randomBytes(32)) };
  const keys = { current: () => key, find: () => key };
  const cases: BenchResult['cases'][number][] = [];
  for (const [name, size] of Object.entries(SIZES)) {
    const drover: Cost[] = [];
    const peer: Cost[] = [];
    for (let round = 0; round < options.rounds; round++) {
      signal.throwIfAborted();
      drover.push(measure(size, new Packer('none', new Sealer(keys)), new Opener(keys)));
      peer.push(measure(size, new Packer('none'), new Opener(keys)));
      await new Promise((resolve) => setImmediate(resolve)); // so that Ctrl-C is heard
    }
    const of = (metric: string, unit: string, value: (cost: Cost) => number) =>
      summarize({
        case: name,
        metric,
        unit,
        peerName: PEER_NAME,
        drover: drover.map(value),
        peer: peer.map(value),
      });
    const perMillionRows = (us: number) => us * (ROW_BYTES / size);
    cases.push(
      of('write', 'us/block', (cost) => cost.write),
      of('read', 'us/block', (cost) => cost.read),
      of('write', 's/M rows', (cost) => perMillionRows(cost.write)),
      of('read', 's/M rows', (cost) => perMillionRows(cost.read)),
    );
    say(`sealing: blocks of ${name}`);
  }
  return {
    cases,
    notes: [`a row takes ${ROW_BYTES} stored bytes; a sealed block 44 more than it would`],
    settings: { rowBytes: ROW_BYTES, cpu: 'user and system time of this process, least of three series' },
  };
}

function measure(size: number, packer: Packer, opener: Opener): Cost {
  const writer = new BlockWriter();
  const row = randomBytes(ROW_BYTES - 7); // behind op, relation and length
  writer.begin(1n as Lsn, 0n, 1);
  const table = writer.relation(TABLE);
  while (writer.size + ROW_BYTES <= size) writer.insert(table, row, 0, row.length);
  const block = writer.finish(META, packer);
  const blocks = Math.min(BLOCKS_MAX, Math.ceil(SERIES_BYTES / size));
  const perBlock = (run: () => unknown): number => (cpuMs(blocks, run) / blocks) * 1000;
  return {
    write: perBlock(() => writer.finish(META, packer)),
    read: perBlock(() => walkBlock(block, NOTHING, { opener })),
  };
}
