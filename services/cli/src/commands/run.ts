/** `drover run <service>`: one service, or all of them, in this process until SIGINT or SIGTERM. */
import { type ClusterId, clusterId, DroverError } from '@drover/core';
import { loadService, PER_CLUSTER, SERVICES, type ServiceName, serviceName } from '../services.ts';
import { configOf } from './clusters.ts';

export interface RunArguments {
  readonly service: string;
  readonly config?: string;
  readonly cluster?: string;
  readonly metricsPort?: number;
}

/** Ends when a signal comes or the parent's channel closes; a second signal ends the process at once. */
export function untilSignal(): AbortSignal {
  const stop = new AbortController();
  const onSignal = () => {
    if (stop.signal.aborted) process.exit(130);
    stop.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  if (process.send !== undefined) process.on('disconnect', () => stop.abort());
  return stop.signal;
}

export async function runService(args: RunArguments): Promise<void> {
  const config = configOf(args.config);
  const signal = untilSignal();
  const names: readonly ServiceName[] = args.service === 'all' ? SERVICES : [serviceName(args.service)];
  interface Job {
    readonly name: ServiceName;
    readonly cluster: ClusterId | undefined;
  }
  const jobs = names.flatMap((name): Job[] => {
    if (!PER_CLUSTER.has(name)) return [{ name, cluster: undefined }];
    if (args.cluster !== undefined) return [{ name, cluster: clusterId(args.cluster) }];
    if (args.service === 'all') return config.clusters.map((c) => ({ name, cluster: c.name }));
    throw new DroverError('config.invalid', `${name} runs for one cluster`, {
      hint: `name it: --cluster ${config.clusters.map((c) => c.name).join(' or --cluster ')}`,
    });
  });
  const unknown = jobs.find(
    (job) => job.cluster !== undefined && !config.clusters.some((c) => c.name === job.cluster),
  );
  if (unknown !== undefined) {
    throw new DroverError(
      'config.invalid',
      `${config.file ?? 'drover.toml'} has no cluster ${unknown.cluster}`,
      {
        hint: `it has ${config.clusters.map((c) => c.name).join(', ')}`,
      },
    );
  }
  let waiting = jobs.length;
  const info: Record<string, unknown> = {};
  await Promise.all(
    jobs.map(async ({ name, cluster }) => {
      const run = await loadService(name);
      await run({
        config,
        signal,
        ...(cluster === undefined ? {} : { cluster }),
        ...(args.metricsPort === undefined ? {} : { metricsPort: args.metricsPort }),
        onReady: (about) => {
          Object.assign(
            info,
            jobs.length === 1 ? about : { [cluster === undefined ? name : `${name}-${cluster}`]: about },
          );
          if (--waiting === 0) process.send?.({ ready: info });
        },
      });
    }),
  );
  // A connection that does not end must not keep a stopped service alive.
  process.disconnect?.();
}
