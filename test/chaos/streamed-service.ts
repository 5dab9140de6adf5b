/**
 * One service in a process of its own, that kills itself at a step: `node streamed-service.ts cdc|apply <configuration> [<step> <nth>]`. The nth
 * time that the step is come to, nothing more of the process runs, as with a `kill -9` at that very place.
 */
import { readFileSync } from 'node:fs';
import type { Config } from '@drover/config';
import { clusterId } from '@drover/core';
import { run as runApply } from '../../services/apply/src/main.ts';
import { run as runCdc } from '../../services/cdc/src/main.ts';

const [name = '', file = '', step = '', nth = '1'] = process.argv.slice(2);
const config = JSON.parse(readFileSync(file, 'utf8')) as Config;
const stop = new AbortController();
let left = Number(nth);
process.once('SIGTERM', () => stop.abort());
// The test is gone.
process.once('disconnect', () => process.exit(1));

const failpoint = (at: string): void => {
  if (at === step && --left === 0) process.kill(process.pid, 'SIGKILL');
};
const options = {
  config,
  signal: stop.signal,
  metricsPort: 0,
  failpoint,
  onReady: (info: object) => process.send?.({ ready: true, ...info }),
};
if (name === 'cdc') await runCdc({ ...options, cluster: clusterId('east') });
else await runApply({ ...options, cluster: clusterId('west') });
process.disconnect();
