/**
 * Ports of tests. Files run beside each other, each in a process of its own; a port that is looked for now may be listened on much later, and
 * a server that is away for a while wants its own again. So each process has ports that no other one takes.
 */
import { freePort } from '@drover/local';

/** More than there are files at once. */
const LANES = 16;

export async function testPort(): Promise<number> {
  const lane = Number(process.env['VITEST_POOL_ID'] ?? 0) % LANES;
  for (;;) {
    const port = await freePort();
    if (port % LANES === lane) return port;
  }
}
