/** A gRPC server with the standard health service and reflection. */
import { createRequire } from 'node:module';
import { create, type DescFile, type DescService, toBinary } from '@bufbuild/protobuf';
import { type FileDescriptorProto, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { type Closeable, describeError, DroverError } from '@drover/core';
import * as grpc from '@grpc/grpc-js';
import { loadFileDescriptorSetFromBuffer } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import { definitionOf } from './grpc-glue.ts';

// The health package is CommonJS and loads its .proto beside itself.
const { HealthImplementation } = createRequire(import.meta.url)('grpc-health-check') as typeof import('grpc-health-check');

export interface ServedService {
  readonly service: DescService;
  readonly implementation: grpc.UntypedServiceImplementation;
}

export interface RpcServer extends Closeable {
  readonly port: number;
  /** What the health service says, for the server and each service. */
  setServing(serving: boolean): void;
}

/** @throws DroverError `local.port_in_use` */
export async function startServer(options: { host: string; port: number; services: readonly ServedService[] }): Promise<RpcServer> {
  const server = new grpc.Server();
  for (const { service, implementation } of options.services) server.addService(definitionOf(service), implementation);
  const names = ['', ...options.services.map((s) => s.service.typeName)];
  const health = new HealthImplementation(Object.fromEntries(names.map((name) => [name, 'SERVING' as const])));
  health.addToServer(server);
  reflectionOf(options.services.map((s) => s.service)).addToServer(server);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`${options.host}:${options.port}`, grpc.ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else {
        reject(
          new DroverError('local.port_in_use', `gRPC cannot listen on ${options.host}:${options.port}: ${describeError(error)}`, {
            hint: 'choose another [control] port',
            cause: error,
          }),
        );
      }
    });
  });
  return {
    port,
    setServing: (serving) => {
      for (const name of names) health.setStatus(name, serving ? 'SERVING' : 'NOT_SERVING');
    },
    close: () =>
      new Promise((resolve) => {
        const force = setTimeout(() => server.forceShutdown(), 2000);
        server.tryShutdown(() => {
          clearTimeout(force);
          resolve();
        });
      }),
  };
}

function reflectionOf(services: readonly DescService[]): ReflectionService {
  const files = new Map<string, FileDescriptorProto>();
  const add = (file: DescFile) => {
    for (const dependency of file.dependencies) add(dependency);
    files.set(file.proto.name, file.proto);
  };
  for (const service of services) add(service.file);
  const set = toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file: [...files.values()] }));
  return new ReflectionService(loadFileDescriptorSetFromBuffer(Buffer.from(set)));
}
