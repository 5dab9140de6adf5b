/** The flags of `npm run bench`. Pure. */
import { parseArgs } from 'node:util';
import { DroverError } from '@drover/core';

export const BENCHES = [
  'data',
  'latency',
  'huge',
  'tenants',
  'connections',
  'fairness',
  'proxy',
  'compression',
  'codecs',
  'sealing',
  'small',
] as const;
export type BenchName = (typeof BENCHES)[number];

export const CASES = ['big', 'ten', 'single', 'update', 'mix', 'hot'] as const;
export type CaseName = (typeof CASES)[number];

export interface Options {
  readonly benches: readonly BenchName[];
  readonly rounds: number;
  /** Rows of one case and round; a multiple of {@link ROWS_STEP}. */
  readonly rows: number;
  readonly cases: readonly CaseName[];
  /** Size of the one transaction of `huge`. */
  readonly megabytes: number;
  /** Transactions a second of the latency benchmark. */
  readonly rates: readonly number[];
  /** Of one measurement of latency, of fairness and of the proxy. */
  readonly seconds: number;
  /** `[cdc] stream_above_bytes` of the reader; undefined: as it is by default. */
  readonly streamAbove: string | undefined;
  readonly profileTo: string | undefined;
  readonly out: string | undefined;
  /** Folder of public data sets for compression, which are no part of the repository. */
  readonly publicData: string | undefined;
  readonly help: boolean;
}

/** 1,000 tenants, ten rows in a transaction, and a tenth of them in `mix`. */
export const ROWS_STEP = 100_000;

export const HELP = `npm run bench -- [flags]
  --only a,b        ${BENCHES.join(', ')} (default: all)
  --cases a,b       of data: ${CASES.join(', ')} (default: all)
  --rounds n        rounds, of which the median counts (default 3)
  --megabytes n     of the transaction of huge (default 1024)
  --rows n          rows of one case and round, in steps of ${ROWS_STEP} (default 1000000); of fairness: of the large transaction,
                    270 bytes each (8000000: 2 GB)
  --rates a,b       transactions a second of latency (default 500,2000)
  --seconds n       of one measurement of latency, fairness, the proxy and small (default 10)
  --stream-above s  from which size on the reader has transactions come before they have committed, for example 8MiB (data, huge, fairness)
  --quick           one short round of everything, for a first look
  --profile dir     CPU profiles of Drover's services go there
  --public dir      public data sets for compression (default $DROVER_BENCH_PUBLIC; without: left out)
  --out dir         where the JSON goes (default test/bench/out)
`;

/** @throws DroverError config.invalid naming the flag */
export function parseFlags(args: readonly string[], env: NodeJS.ProcessEnv = process.env): Options {
  const { values } = flagsOf(args);
  const quick = values.quick === true;
  const rows = whole('rows', values.rows, quick ? 100_000 : 1_000_000);
  if (rows % ROWS_STEP !== 0) throw invalid(`--rows is a multiple of ${ROWS_STEP}`);
  return {
    benches: listed('only', values.only, BENCHES),
    cases: listed('cases', values.cases, CASES),
    rounds: whole('rounds', values.rounds, quick ? 1 : 3),
    rows,
    megabytes: whole('megabytes', values.megabytes, quick ? 64 : 1024),
    rates: (values.rates ?? '500,2000').split(',').map((rate) => whole('rates', rate, 0)),
    seconds: whole('seconds', values.seconds, quick ? 4 : 10),
    streamAbove: values['stream-above'],
    profileTo: values.profile,
    out: values.out,
    publicData: values.public ?? env['DROVER_BENCH_PUBLIC'],
    help: values.help === true,
  };
}

/** What of the configuration the flags change. */
export function readerSections({ streamAbove }: Options): { cdc?: { stream_above_bytes: string } } {
  return streamAbove === undefined ? {} : { cdc: { stream_above_bytes: streamAbove } };
}

function flagsOf(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        only: { type: 'string' },
        cases: { type: 'string' },
        rounds: { type: 'string' },
        rows: { type: 'string' },
        megabytes: { type: 'string' },
        rates: { type: 'string' },
        seconds: { type: 'string' },
        quick: { type: 'boolean' },
        'stream-above': { type: 'string' },
        profile: { type: 'string' },
        out: { type: 'string' },
        public: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (cause) {
    throw invalid((cause as Error).message, cause);
  }
}

function listed<T extends string>(flag: string, text: string | undefined, all: readonly T[]): readonly T[] {
  if (text === undefined) return all;
  const wanted = text.split(',');
  const unknown = wanted.find((name) => !all.some((known) => known === name));
  if (unknown !== undefined)
    throw invalid(`--${flag}: there is no "${unknown}"; there are ${all.join(', ')}`);
  return all.filter((name) => wanted.includes(name));
}

function whole(flag: string, text: string | undefined, fallback: number): number {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value <= 0)
    throw invalid(`--${flag}: "${text}" is not a whole number above 0`);
  return value;
}

function invalid(message: string, cause?: unknown): DroverError {
  return new DroverError('config.invalid', message, { hint: '--help shows the flags', cause });
}
