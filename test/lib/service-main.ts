/**
 * One service: `node service-main.ts '<service>' <configuration as JSON> [<step> <nth>]`, started by processes.ts. The nth time that the step is
 * come to, nothing more of the process runs, as with a `kill -9` at that very place. With DROVER_EAGER a reader learns profiles of a handful of blocks.
 */
import { readFileSync } from 'node:fs';
import type { Config } from '@drover/config';
import { runService, type Service } from './services.ts';

const [service = '', file = '', step = '', nth = '1'] = process.argv.slice(2);
const stop = new AbortController();
let left = Number(nth);
process.once('SIGTERM', () => stop.abort());
// The test is gone.
process.once('disconnect', () => process.exit(1));

await runService(service as Service, {
  config: JSON.parse(readFileSync(file, 'utf8')) as Config,
  signal: stop.signal,
  onReady: (info) => process.send?.(info),
  ...(process.env['DROVER_EAGER'] === undefined ? {} : { pace: { seen: 1, samples: 3, rest: 0 } }),
  failpoint: async (at) => {
    if (at === step && --left === 0) process.kill(process.pid, 'SIGKILL');
  },
});
process.disconnect();
