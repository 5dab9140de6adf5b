/** The general codecs beside zstd level 1, on bodies of blocks: stored bytes, and CPU both ways. No server takes part. */
import { assert } from '@drover/core';
import { compressSnappy, decompressSnappy } from '../../../packages/block/src/snappy.ts';
import { compress, decompress } from '../../../packages/block/src/zstd.ts';
import type { BenchContext, BenchResult } from '../data/run.ts';
import { summarize } from '../lib/report.ts';
import { bodiesOf } from './bodies.ts';

const SIZES: Readonly<Record<string, number>> = {
  '2 KB': 2048,
  '16 KB': 16_384,
  '64 KB': 65_536,
  '256 KB': 262_144,
};
/** Of all bodies of a size. */
const SERIES_BYTES = 8_000_000;
/** Series of each codec, by turns: the least CPU of them is a round's figure. */
const SERIES = 5;

interface Codec {
  readonly name: string;
  pack(raw: Buffer): Buffer;
  unpack(stored: Buffer, bytes: number): Buffer;
}

const zstd = (level: number): Codec => ({
  name: `zstd ${level}`,
  pack: (raw) => compress(raw, level),
  unpack: decompress,
});
const PEER = zstd(1);
const CODECS: readonly Codec[] = [
  { name: 'snappy', pack: compressSnappy, unpack: decompressSnappy },
  zstd(-3),
  zstd(-5),
];

/** Of one body. */
interface Cost {
  readonly bytes: number;
  readonly packUs: number;
  readonly unpackUs: number;
}

export async function benchCodecs({ options, signal, say }: BenchContext): Promise<BenchResult> {
  const cases: BenchResult['cases'][number][] = [];
  for (const [name, size] of Object.entries(SIZES)) {
    const bodies = bodiesOf(size, SERIES_BYTES);
    const rounds: Map<Codec, Cost>[] = [];
    for (let round = 0; round < options.rounds; round++) {
      signal.throwIfAborted();
      rounds.push(await measure([PEER, ...CODECS], bodies));
    }
    const costs = (codec: Codec, of: (cost: Cost) => number): number[] =>
      rounds.map((round) => of(round.get(codec) as Cost));
    for (const codec of CODECS) {
      const figure = (metric: string, unit: string, of: (cost: Cost) => number) =>
        summarize({
          case: `${codec.name}, bodies of ${name}`,
          metric,
          unit,
          peerName: PEER.name,
          drover: costs(codec, of),
          peer: costs(PEER, of),
        });
      cases.push(
        figure('stored', 'bytes', ({ bytes }) => bytes),
        figure('compress', 'us', ({ packUs }) => packUs),
        figure('decompress', 'us', ({ unpackUs }) => unpackUs),
        figure('both', 'us', ({ packUs, unpackUs }) => packUs + unpackUs),
      );
    }
    say(`codecs: bodies of ${name}`);
  }
  return {
    cases,
    notes: [],
    settings: { cpu: `user and system time of this process for one body, least of ${SERIES} series` },
  };
}

async function measure(codecs: readonly Codec[], bodies: readonly Buffer[]): Promise<Map<Codec, Cost>> {
  const stored = new Map(codecs.map((codec) => [codec, bodies.map((raw) => packed(codec, raw))] as const));
  const found = new Map<Codec, Cost>();
  for (let series = 0; series < SERIES; series++) {
    for (const codec of codecs) {
      const all = stored.get(codec) as Buffer[];
      const packUs = await cpuUs(() => bodies.forEach((raw) => void codec.pack(raw)));
      const unpackUs = await cpuUs(() =>
        all.forEach((one, i) => void codec.unpack(one, (bodies[i] as Buffer).length)),
      );
      const before = found.get(codec);
      found.set(codec, {
        bytes: all.reduce((sum, one) => sum + one.length, 0) / bodies.length,
        packUs: Math.min(before?.packUs ?? Number.POSITIVE_INFINITY, packUs / bodies.length),
        unpackUs: Math.min(before?.unpackUs ?? Number.POSITIVE_INFINITY, unpackUs / bodies.length),
      });
    }
  }
  return found;
}

function packed(codec: Codec, raw: Buffer): Buffer {
  const stored = Buffer.from(codec.pack(raw));
  assert(codec.unpack(stored, raw.length).equals(raw), 'a body came back changed', { codec: codec.name });
  return stored;
}

async function cpuUs(run: () => void): Promise<number> {
  // A turn of the event loop: Ctrl-C is heard, and what the last series left is not this one's.
  await new Promise((resolve) => setImmediate(resolve));
  const before = process.cpuUsage();
  run();
  const { user, system } = process.cpuUsage(before);
  return user + system;
}
