/**
 * Typed handlers under grpc-js. A handler gets the message and a context whose signal aborts when the caller goes away,
 * its deadline passes or the server stops; what it throws travels as in `status.ts`. A slow reader of a stream slows the handler down.
 */
import type { DescService } from '@bufbuild/protobuf';
import { cancelled, DroverError, must } from '@drover/core';
import type * as grpc from '@grpc/grpc-js';
import {
  type Input,
  type Output,
  pathOf,
  type Received,
  type Sent,
  type StreamNames,
  type UnaryNames,
} from './definitions.ts';
import { toStatus } from './status.ts';

export interface CallContext {
  readonly signal: AbortSignal;
  /** `/drover.v1.FailoverService/FailoverTenant` */
  readonly path: string;
  /** Where the caller is, for logs. */
  readonly peer: string;
}

/** Implementation of a service: unary methods answer, the others yield. */
export type Handlers<S extends DescService> = {
  readonly [K in UnaryNames<S>]: (
    request: Received<Input<S, K>>,
    context: CallContext,
  ) => Promise<Sent<Output<S, K>>>;
} & {
  readonly [K in StreamNames<S>]: (
    request: Received<Input<S, K>>,
    context: CallContext,
  ) => AsyncIterable<Sent<Output<S, K>>>;
};

export interface HandlerOptions {
  /** Aborts when the server stops: streams end. */
  readonly stop: AbortSignal;
  /** The bearer token callers must show; undefined: none. */
  readonly token: string | undefined;
  /** Asked before every call; throws to refuse it. */
  readonly admit?: (path: string) => void;
  /** Told of every call when it has ended; `error` is undefined when it went well. */
  readonly onCall?: (path: string, seconds: number, error: unknown) => void;
}

type UntypedHandler = (request: unknown, context: CallContext) => unknown;
type Call = grpc.ServerUnaryCall<unknown, unknown> | grpc.ServerWritableStream<unknown, unknown>;

/** What `grpc.Server.addService` takes. @throws DroverError `internal.assertion` when a method has no handler. */
export function implementationOf<S extends DescService>(
  service: S,
  handlers: Handlers<S>,
  options: HandlerOptions,
): grpc.UntypedServiceImplementation {
  const untyped = handlers as Record<string, UntypedHandler>; // each is typed by its method, which the loop cannot show
  return Object.fromEntries(
    service.methods.map((method) => {
      const handler = must(untyped[method.localName], `handler of ${method.name}`);
      const served = { handler, path: pathOf(service, method), options };
      return [method.localName, method.methodKind === 'server_streaming' ? streaming(served) : unary(served)];
    }),
  );
}

interface Served {
  readonly handler: UntypedHandler;
  readonly path: string;
  readonly options: HandlerOptions;
}

function unary(served: Served): grpc.handleUnaryCall<unknown, unknown> {
  return (call, callback) => {
    const done = begin(served, call);
    answer(served, call, done.context).then(
      (value) => {
        done.end(undefined);
        callback(null, value);
      },
      (error: unknown) => {
        done.end(error);
        callback(toStatus(error));
      },
    );
  };
}

async function answer(served: Served, call: Call, context: CallContext): Promise<unknown> {
  checkToken(served.options.token, call.metadata);
  served.options.admit?.(served.path);
  return served.handler(call.request, context);
}

function streaming(served: Served): grpc.handleServerStreamingCall<unknown, unknown> {
  return (call) => {
    const done = begin(served, call);
    pump(served, call, done.context).then(
      () => {
        done.end(undefined);
        call.end();
      },
      (error: unknown) => {
        done.end(error);
        call.emit('error', toStatus(error));
      },
    );
  };
}

async function pump(
  served: Served,
  call: grpc.ServerWritableStream<unknown, unknown>,
  context: CallContext,
): Promise<void> {
  checkToken(served.options.token, call.metadata);
  served.options.admit?.(served.path);
  const values = served.handler(call.request, context) as AsyncIterable<unknown>;
  for await (const value of values) {
    if (context.signal.aborted) throw cancelled();
    if (!call.write(value)) await drained(call, context.signal);
  }
}

/** Until the reader has taken what was written, or is gone. */
function drained(call: grpc.ServerWritableStream<unknown, unknown>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      call.removeListener('drain', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    call.once('drain', done);
    signal.addEventListener('abort', done, { once: true });
    if (signal.aborted) done();
  });
}

function begin(served: Served, call: Call): { context: CallContext; end: (error: unknown) => void } {
  const gone = new AbortController();
  call.once('cancelled', () => gone.abort());
  const started = performance.now();
  return {
    context: {
      signal: AbortSignal.any([gone.signal, served.options.stop]),
      path: served.path,
      peer: call.getPeer(),
    },
    end: (error) => served.options.onCall?.(served.path, (performance.now() - started) / 1000, error),
  };
}

function checkToken(token: string | undefined, metadata: grpc.Metadata): void {
  if (token === undefined || metadata.get('authorization')[0] === `Bearer ${token}`) return;
  throw new DroverError('rpc.unauthenticated', 'the control plane wants a token', {
    hint: 'it is `[control] token` of drover.toml; clients send `authorization: Bearer <token>`',
  });
}
