/** Typed clients: unary methods give promises, the others async iterables; failures are DroverErrors (`status.ts`). */
import type { DescService } from '@bufbuild/protobuf';
import { cancelled, must } from '@drover/core';
import * as grpc from '@grpc/grpc-js';
import {
  definitionOf,
  type Input,
  type Output,
  type Received,
  type Sent,
  type StreamNames,
  type UnaryNames,
} from './definitions.ts';
import { fromStatus } from './status.ts';

export interface CallOptions {
  /** The server gives up after this. Absent: it may take as long as it takes. */
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal;
}

export type ServiceClient<S extends DescService> = {
  readonly [K in UnaryNames<S>]: (
    request: Sent<Input<S, K>>,
    options?: CallOptions,
  ) => Promise<Received<Output<S, K>>>;
} & {
  /** Leaving the loop cancels the call. */
  readonly [K in StreamNames<S>]: (
    request: Sent<Input<S, K>>,
    options?: CallOptions,
  ) => AsyncIterable<Received<Output<S, K>>>;
} & { close(): void };

export interface ClientOptions {
  readonly token?: string;
}

/** A dead peer of a quiet stream is noticed after at most the two together. */
const KEEPALIVE_MS = 20_000;
const KEEPALIVE_TIMEOUT_MS = 5_000;

type RawUnary = (
  request: unknown,
  metadata: grpc.Metadata,
  options: grpc.CallOptions,
  callback: (error: grpc.ServiceError | null, value?: unknown) => void,
) => grpc.ClientUnaryCall;
type RawStream = (
  request: unknown,
  metadata: grpc.Metadata,
  options: grpc.CallOptions,
) => grpc.ClientReadableStream<unknown>;

/** A client of one service at `host:port`. It connects when it is first used. */
export function createClient<S extends DescService>(
  service: S,
  address: string,
  options: ClientOptions = {},
): ServiceClient<S> {
  const Base = grpc.makeClientConstructor(definitionOf(service), service.typeName);
  const client = new Base(address, grpc.credentials.createInsecure(), {
    'grpc.keepalive_time_ms': KEEPALIVE_MS,
    'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
  });
  const metadata = new grpc.Metadata();
  if (options.token !== undefined) metadata.set('authorization', `Bearer ${options.token}`);
  const calls: Record<string, unknown> = { close: () => client.close() };
  for (const method of service.methods) {
    const raw: unknown = must(client[method.localName], `method ${method.name}`).bind(client);
    // makeClientConstructor gives each method the form that its definition says.
    calls[method.localName] =
      method.methodKind === 'server_streaming'
        ? (request: unknown, call: CallOptions = {}) =>
            stream(raw as RawStream, request, { call, metadata, address })
        : (request: unknown, call: CallOptions = {}) =>
            unary(raw as RawUnary, request, { call, metadata, address });
  }
  return calls as ServiceClient<S>;
}

interface Sending {
  readonly call: CallOptions;
  readonly metadata: grpc.Metadata;
  readonly address: string;
}

function grpcOptions({ deadlineMs }: CallOptions): grpc.CallOptions {
  return deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs };
}

function unary(raw: RawUnary, request: unknown, { call, metadata, address }: Sending): Promise<unknown> {
  const { signal } = call;
  if (signal?.aborted) return Promise.reject(cancelled());
  return new Promise((resolve, reject) => {
    const abort = () => running.cancel();
    const running = raw(request, metadata, grpcOptions(call), (error, value) => {
      signal?.removeEventListener('abort', abort);
      if (error === null) resolve(value);
      else reject(fromStatus(error, address));
    });
    signal?.addEventListener('abort', abort, { once: true });
  });
}

async function* stream(
  raw: RawStream,
  request: unknown,
  { call, metadata, address }: Sending,
): AsyncGenerator<unknown> {
  const { signal } = call;
  if (signal?.aborted) throw cancelled();
  const running = raw(request, metadata, grpcOptions(call));
  const abort = () => running.cancel();
  signal?.addEventListener('abort', abort, { once: true });
  try {
    yield* running;
  } catch (error) {
    throw fromStatus(error, address);
  } finally {
    signal?.removeEventListener('abort', abort);
    running.on('error', () => undefined); // of a call that is cancelled because nobody reads on
    running.cancel();
  }
}
