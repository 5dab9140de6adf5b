/** A gRPC server with the standard health service and reflection. Closing ends streams, then waits a moment for the rest. */
import { createRequire } from 'node:module';
import type { DescService } from '@bufbuild/protobuf';
import { type Closeable, DroverError, describeError } from '@drover/core';
import * as grpc from '@grpc/grpc-js';
import { definitionOf } from './definitions.ts';
import { type HandlerOptions, type Handlers, implementationOf } from './handlers.ts';
import { reflectionOf } from './reflection.ts';

// What it would say on standard error reaches callers as errors; lines of its own would break the form of the log.
grpc.setLogVerbosity(grpc.logVerbosity.NONE);

// CommonJS, and it loads its .proto from beside itself.
const { HealthImplementation } = createRequire(import.meta.url)(
  'grpc-health-check',
) as typeof import('grpc-health-check');

/** A service and its handlers, see {@link serve}. */
export interface Served {
  readonly service: DescService;
  readonly implement: (options: HandlerOptions) => grpc.UntypedServiceImplementation;
}

/** Pairs a service with handlers of its types. */
export function serve<S extends DescService>(service: S, handlers: Handlers<S>): Served {
  return { service, implement: (options) => implementationOf(service, handlers, options) };
}

export interface ServerOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly services: readonly Served[];
  /** Callers must send it as `authorization: Bearer <token>`; health and reflection are open. Absent: nobody is asked. */
  readonly token?: string;
  readonly admit?: (path: string) => void;
  readonly onCall?: (path: string, seconds: number, error: unknown) => void;
}

export interface RpcServer extends Closeable {
  readonly port: number;
  /** What the health service says, for the server as a whole and for each service. SERVING from the start. */
  setServing(serving: boolean): void;
}

/** Calls that have not ended this long after closing began are cut off. */
const CLOSE_MS = 2000;

/** @throws DroverError `local.port_in_use` */
export async function createServer(options: ServerOptions): Promise<RpcServer> {
  const stop = new AbortController();
  const server = new grpc.Server();
  const { admit, onCall } = options;
  const handling: HandlerOptions = {
    stop: stop.signal,
    token: options.token,
    ...(admit === undefined ? {} : { admit }),
    ...(onCall === undefined ? {} : { onCall }),
  };
  for (const { service, implement } of options.services)
    server.addService(definitionOf(service), implement(handling));
  const names = ['', ...options.services.map(({ service }) => service.typeName)];
  const health = new HealthImplementation(
    Object.fromEntries(names.map((name) => [name, 'SERVING' as const])),
  );
  health.addToServer(server);
  reflectionOf(options.services.map(({ service }) => service)).addToServer(server);
  const port = await bind(server, options);
  return {
    port,
    setServing: (serving) => {
      for (const name of names) health.setStatus(name, serving ? 'SERVING' : 'NOT_SERVING');
    },
    close: () => {
      stop.abort();
      return shutDown(server);
    },
  };
}

function bind(server: grpc.Server, { host, port }: ServerOptions): Promise<number> {
  const address = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  return new Promise((resolve, reject) => {
    server.bindAsync(address, grpc.ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else {
        reject(
          new DroverError('local.port_in_use', `gRPC cannot listen on ${address}: ${describeError(error)}`, {
            hint: 'choose another [control] host or port',
            cause: error,
          }),
        );
      }
    });
  });
}

function shutDown(server: grpc.Server): Promise<void> {
  return new Promise((resolve) => {
    const force = setTimeout(() => server.forceShutdown(), CLOSE_MS);
    server.tryShutdown(() => {
      clearTimeout(force);
      resolve();
    });
  });
}
