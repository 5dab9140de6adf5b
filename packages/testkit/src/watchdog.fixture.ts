/** Started by watchdog.pg.test.ts: starts servers, names them on stdout, then waits to be killed. */
import { testNats } from './test-nats.ts';
import { testPostgres } from './test-postgres.ts';

const postgres = await testPostgres();
const nats = await testNats();
const folder = postgres.server.dataDir;
process.stdout.write(`${JSON.stringify({ pids: [postgres.server.pid, nats.server.pid], folder })}\n`);
setInterval(() => {}, 1000);
