import { readFileSync } from 'node:fs';
import type { Config } from '@drover/config';
import { runDemoLoad } from '../up/demo-load.ts';
import type { UpState } from '../up/layout.ts';
import { untilSignal } from './run.ts';

/** The process behind `drover up`'s load; its reports go to its log. */
export async function demoLoad(
  config: Config,
  args: { tenants: string; rate: number; state: string },
): Promise<void> {
  const state = JSON.parse(readFileSync(args.state, 'utf8')) as UpState;
  const signal = untilSignal();
  process.send?.({ ready: {} });
  await runDemoLoad({
    host: config.proxy.host,
    port: config.proxy.port,
    database: config.clusters[0]?.databases[0] ?? 'app',
    password: state.samplePassword,
    tenants: args.tenants.split(','),
    rate: args.rate,
    signal,
    onReport: (report) =>
      process.stderr.write(`${JSON.stringify({ at: new Date().toISOString(), ...report })}\n`),
  });
  process.disconnect?.();
}
