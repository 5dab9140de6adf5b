/** One service in a process of its own: `node service-main.ts cdc|apply <configuration as JSON>`. Started by service.ts. */
import { readFileSync } from 'node:fs';
import type { Config } from '@drover/config';
import { main } from './service.ts';

const [name = '', file = ''] = process.argv.slice(2);
await main(name, JSON.parse(readFileSync(file, 'utf8')) as Config);
