/**
 * grpc-js over the generated protobuf code: service definitions from descriptors, a server with health and reflection, typed
 * clients, and errors that keep their Drover code. Deadlines are gRPC's own.
 */
import { create, type DescMethod, type DescService, fromBinary, type MessageInitShape, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { CATALOGUE, describeError, DroverError, type ErrorCode, must } from '@drover/core';
import * as grpc from '@grpc/grpc-js';

export function definitionOf(service: DescService): grpc.ServiceDefinition {
  return Object.fromEntries(
    service.methods.map((method) => [
      method.localName,
      {
        path: `/${service.typeName}/${method.name}`,
        requestStream: false,
        responseStream: method.methodKind === 'server_streaming',
        requestSerialize: (value: unknown) => serialize(method.input, value),
        requestDeserialize: (bytes: Buffer) => fromBinary(method.input, bytes),
        responseSerialize: (value: unknown) => serialize(method.output, value),
        responseDeserialize: (bytes: Buffer) => fromBinary(method.output, bytes),
      },
    ]),
  );
}

function serialize(schema: DescMethod["input"], value: unknown): Buffer {
  return Buffer.from(toBinary(schema, create(schema, value as MessageInitShape<DescMethod["input"]>)));
}

/** Implementation of a service: unary methods return the response, streaming ones yield responses. */
export type Handlers<S extends DescService> = {
  [K in keyof S['method']]: S['method'][K] extends { methodKind: 'server_streaming'; input: infer I; output: infer O }
    ? I extends DescMethod['input']
      ? O extends DescMethod['output']
        ? (request: MessageShape<I>, signal: AbortSignal) => AsyncIterable<MessageInitShape<O>>
        : never
      : never
    : S['method'][K] extends { input: infer I; output: infer O }
      ? I extends DescMethod['input']
        ? O extends DescMethod['output']
          ? (request: MessageShape<I>, signal: AbortSignal) => Promise<MessageInitShape<O>>
          : never
        : never
      : never;
};

/** Typed client of a service: unary methods return promises, streaming ones async iterables. */
export type ServiceClient<S extends DescService> = {
  [K in keyof S['method']]: S['method'][K] extends { methodKind: 'server_streaming'; input: infer I; output: infer O }
    ? I extends DescMethod['input']
      ? O extends DescMethod['output']
        ? (request: MessageInitShape<I>, options?: CallOptions) => AsyncIterable<MessageShape<O>>
        : never
      : never
    : S['method'][K] extends { input: infer I; output: infer O }
      ? I extends DescMethod['input']
        ? O extends DescMethod['output']
          ? (request: MessageInitShape<I>, options?: CallOptions) => Promise<MessageShape<O>>
          : never
        : never
      : never;
} & { close(): void };

export interface CallOptions {
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal;
}

/** Wires typed handlers to grpc-js. */
export function implementationOf<S extends DescService>(service: S, handlers: Handlers<S>): grpc.UntypedServiceImplementation {
  const untyped = handlers as Record<string, (request: unknown, signal: AbortSignal) => unknown>;
  return Object.fromEntries(
    service.methods.map((method) => {
      const handler = must(untyped[method.localName], `handler of ${method.name}`);
      return [method.localName, method.methodKind === 'server_streaming' ? streaming(handler) : unary(handler)];
    }),
  );
}

function unary(handler: (request: unknown, signal: AbortSignal) => unknown): grpc.handleUnaryCall<unknown, unknown> {
  return (call, callback) => {
    const stop = new AbortController();
    call.on('cancelled', () => stop.abort());
    (handler(call.request, stop.signal) as Promise<unknown>).then(
      (value) => callback(null, value),
      (error: unknown) => callback(toStatus(error)),
    );
  };
}

function streaming(handler: (request: unknown, signal: AbortSignal) => unknown): grpc.handleServerStreamingCall<unknown, unknown> {
  return (call) => {
    const stop = new AbortController();
    call.on('cancelled', () => stop.abort());
    void (async () => {
      try {
        for await (const value of handler(call.request, stop.signal) as AsyncIterable<unknown>) {
          if (stop.signal.aborted) return;
          if (!call.write(value)) await new Promise((resolve) => call.once('drain', resolve));
        }
        call.end();
      } catch (error) {
        call.emit('error', toStatus(error));
      }
    })();
  };
}

/** gRPC status of an error: by disposition and code, never by text. */
export function toStatus(error: unknown): Partial<grpc.StatusObject> {
  const metadata = new grpc.Metadata();
  if (!(error instanceof DroverError)) return { code: grpc.status.INTERNAL, details: describeError(error), metadata };
  metadata.set('drover-code', error.code);
  if (error.hint !== undefined) metadata.set('drover-hint', encodeURIComponent(error.hint));
  return { code: STATUS[error.code] ?? grpc.status.INTERNAL, details: error.message, metadata };
}

const STATUS: Partial<Record<ErrorCode, grpc.status>> = {
  'tenant.unknown': grpc.status.NOT_FOUND,
  'tenant.exists': grpc.status.ALREADY_EXISTS,
  'tenant.busy': grpc.status.ABORTED,
  'tenant.no_replica': grpc.status.FAILED_PRECONDITION,
  'placement.conflict': grpc.status.ABORTED,
  'failover.drain_timeout': grpc.status.ABORTED,
  'failover.not_leader': grpc.status.UNAVAILABLE,
  'rpc.invalid': grpc.status.INVALID_ARGUMENT,
  'config.invalid_name': grpc.status.INVALID_ARGUMENT,
  'rpc.unavailable': grpc.status.UNAVAILABLE,
  'bus.unreachable': grpc.status.UNAVAILABLE,
  'pg.unreachable': grpc.status.UNAVAILABLE,
  'internal.cancelled': grpc.status.CANCELLED,
};

/** The Drover error a call failed with. */
export function fromStatus(error: unknown, address: string): DroverError {
  const status = error as Partial<grpc.ServiceError>;
  const code = status.metadata?.get('drover-code')[0]?.toString();
  const hint = status.metadata?.get('drover-hint')[0]?.toString();
  if (code !== undefined && code in CATALOGUE) {
    return new DroverError(code as ErrorCode, status.details ?? 'failed', hint === undefined ? {} : { hint: decodeURIComponent(hint) });
  }
  if (status.code === grpc.status.UNAVAILABLE) {
    return new DroverError('rpc.unavailable', `the control plane does not answer at ${address}`, {
      hint: 'is it running? `drover up`, or `drover run control`',
      cause: error,
    });
  }
  if (status.code === grpc.status.CANCELLED) return new DroverError('internal.cancelled', 'cancelled', { cause: error });
  if (status.code === grpc.status.DEADLINE_EXCEEDED) {
    return new DroverError('rpc.unavailable', `${address} did not answer in time`, { cause: error });
  }
  return new DroverError('internal.assertion', status.details ?? describeError(error), { cause: error });
}

/** A client of one service at `host:port`. */
export function createClient<S extends DescService>(service: S, address: string): ServiceClient<S> {
  const Base = grpc.makeClientConstructor(definitionOf(service), service.typeName);
  const client = new Base(address, grpc.credentials.createInsecure());
  const calls: Record<string, unknown> = { close: () => client.close() };
  for (const method of service.methods) {
    const raw = (client as unknown as Record<string, (...args: unknown[]) => unknown>)[method.localName]?.bind(client);
    if (raw === undefined) continue;
    calls[method.localName] =
      method.methodKind === 'server_streaming'
        ? (request: unknown, options: CallOptions = {}) => readStream(raw, request, options, address)
        : (request: unknown, options: CallOptions = {}) => callUnary(raw, request, options, address);
  }
  return calls as ServiceClient<S>;
}

function deadlineOf(options: CallOptions): grpc.CallOptions {
  return options.deadlineMs === undefined ? {} : { deadline: Date.now() + options.deadlineMs };
}

function callUnary(raw: (...args: unknown[]) => unknown, request: unknown, options: CallOptions, address: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const call = raw(request, deadlineOf(options), (error: unknown, value: unknown) => {
      if (error === null || error === undefined) resolve(value);
      else reject(fromStatus(error, address));
    }) as grpc.ClientUnaryCall;
    options.signal?.addEventListener('abort', () => call.cancel(), { once: true });
  });
}

async function* readStream(
  raw: (...args: unknown[]) => unknown,
  request: unknown,
  options: CallOptions,
  address: string,
): AsyncGenerator<unknown> {
  const call = raw(request, deadlineOf(options)) as grpc.ClientReadableStream<unknown>;
  options.signal?.addEventListener('abort', () => call.cancel(), { once: true });
  try {
    yield* call;
  } catch (error) {
    throw fromStatus(error, address);
  } finally {
    call.cancel();
  }
}
