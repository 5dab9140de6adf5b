/** The encoding of blocks beside zstd-3 alone on the same rows: sizes, CPU, and every figure that must be reached. No server takes part. */
import type { BenchContext, BenchResult } from '../data/run.ts';
import { blockFigures, measureTable } from './block-cases.ts';
import { toCase } from './cases.ts';
import { columnFigures, ROWS } from './column-cases.ts';
import { renderGates } from './print.ts';
import { profileFigures } from './profile-cases.ts';
import { publicFigures } from './public-cases.ts';
import { PEER_LEVEL } from './sizes.ts';
import { TABLES } from './tables/all.ts';

export async function benchCompression({ options, signal, say }: BenchContext): Promise<BenchResult> {
  const notes: string[] = [];
  const sums = [];
  for (const rows of ROWS) {
    for (const table of TABLES) {
      signal.throwIfAborted();
      sums.push(measureTable(table, rows));
      // A turn of the event loop, so that Ctrl-C is heard.
      await new Promise((resolve) => setImmediate(resolve));
    }
    say(`compression: ${TABLES.length} tables, ${rows} rows a block`);
  }
  const figures = blockFigures(sums);
  figures.push(...columnFigures(signal));
  say('compression: columns');
  const profiles = profileFigures(signal);
  figures.push(...profiles.figures);
  notes.push(...profiles.notes);
  say('compression: profiles');
  if (options.publicData === undefined) {
    notes.push('public data skipped: name its folder with --public or DROVER_BENCH_PUBLIC');
  } else {
    const found = publicFigures(options.publicData);
    figures.push(...found.figures);
    notes.push(...found.notes);
  }
  const cases = figures.map(toCase);
  const missed = cases.filter(({ pass }) => pass === false).length;
  notes.push(`gates: ${cases.filter(({ pass }) => pass === true).length} passed, ${missed} missed`);
  return {
    cases,
    notes,
    table: renderGates(cases),
    settings: {
      node: process.versions.node,
      zstd: process.versions['zstd'],
      peerLevel: PEER_LEVEL,
      raw: 'row binary: fixed-width values, length-prefixed strings, a bit per null, 20 bytes a transaction, one byte a row; MB of CPU: block bodies',
      plans: 'remembered from the first block, which is not counted; columns by themselves plan anew',
      cpu: 'user and system time of this process, least of three series',
    },
  };
}
