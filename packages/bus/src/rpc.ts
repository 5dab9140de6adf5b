/**
 * Requests between services over core NATS: `drover.rpc.<service>.<method>`, one answer, progress on the way. Errors keep their
 * code. A request may be lost, and its answer too: what a method does must stand being asked again.
 */
import { type Closeable, cancelled, DroverError } from '@drover/core';
import { createInbox, type Msg } from '@nats-io/transport-node';
import type { Bus } from './connect.ts';
import { cancelSubject, errorOf, errorReply, parseReply, type Reply, subjectOfMethod } from './rpc-wire.ts';

export interface RpcContext {
  /** Tells the caller how far the work is; also resets its idle timeout. */
  readonly progress: (update: unknown) => void;
  /** Aborts when the caller gave up or the service closes. */
  readonly signal: AbortSignal;
}

export type RpcHandler = (request: unknown, context: RpcContext) => Promise<unknown>;

/** Requests in work at a time for one method; more are refused with `rpc.unavailable`. */
const REQUESTS_MAX = 64;

/** Serves `<service>.<method>`; several processes share the requests. Closing ends the requests in work and waits for them. */
export function serveRpc(bus: Bus, method: string, handler: RpcHandler): Closeable {
  const stop = new AbortController();
  const running = new Set<Promise<void>>();
  const subscription = bus.nc.subscribe(subjectOfMethod(method), {
    queue: 'drover',
    callback: (error, message) => {
      if (error !== null) return;
      if (running.size >= REQUESTS_MAX) {
        send(
          bus,
          message,
          errorReply(new DroverError('rpc.unavailable', `${method} has too many requests in work`)),
        );
        return;
      }
      const work: Promise<void> = answer(bus, message, handler, stop.signal).finally(() =>
        running.delete(work),
      );
      running.add(work);
    },
  });
  return {
    close: async () => {
      subscription.unsubscribe();
      stop.abort();
      await Promise.all(running);
    },
  };
}

/** Never rejects. */
async function answer(bus: Bus, message: Msg, handler: RpcHandler, stop: AbortSignal): Promise<void> {
  const gaveUp = new AbortController();
  const cancels =
    message.reply === undefined || message.reply === ''
      ? undefined
      : bus.nc.subscribe(cancelSubject(message.reply), { max: 1, callback: () => gaveUp.abort() });
  try {
    const value = await handler(parseRequest(message), {
      progress: (update) => send(bus, message, { kind: 'progress', update }),
      signal: AbortSignal.any([stop, gaveUp.signal]),
    });
    send(bus, message, { kind: 'result', value: value ?? null });
  } catch (error) {
    send(bus, message, errorReply(error));
  } finally {
    cancels?.unsubscribe();
  }
}

function parseRequest(message: Msg): unknown {
  if (message.data.length === 0) return {};
  try {
    return message.json();
  } catch (error) {
    throw new DroverError('rpc.invalid', 'the request is not JSON', { cause: error });
  }
}

/** An answer that cannot be sent is lost like any other; the caller's timeout tells it. */
function send(bus: Bus, message: Msg, reply: Reply): void {
  if (bus.nc.isClosed() || message.reply === undefined || message.reply === '') return;
  const text = JSON.stringify(reply);
  if (Buffer.byteLength(text) <= bus.maxPayload) message.respond(text);
  else
    message.respond(
      JSON.stringify(errorReply(new DroverError('rpc.invalid', 'the answer is too large; ask for less'))),
    );
}

export interface CallOptions {
  /** Longest silence, milliseconds; progress resets it. */
  readonly timeoutMs: number;
  readonly onProgress?: (update: unknown) => void;
  readonly signal?: AbortSignal;
}

/**
 * @throws what the handler threw (a DroverError with its code); `rpc.unavailable` when nobody serves or answers; `internal.cancelled`
 */
export function callRpc(bus: Bus, method: string, request: unknown, options: CallOptions): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const { signal, timeoutMs } = options;
  if (signal?.aborted) return Promise.reject(cancelled());
  if (bus.nc.isClosed()) return Promise.reject(new DroverError('rpc.unavailable', 'the bus is closed'));
  const inbox = createInbox();
  const giveUp = (error: DroverError) => {
    if (!bus.nc.isClosed()) bus.nc.publish(cancelSubject(inbox));
    reject(error);
  };
  const onAbort = () => giveUp(cancelled());
  const onSilence = () =>
    giveUp(new DroverError('rpc.unavailable', `${method} did not answer within ${timeoutMs} ms`));
  let timer = setTimeout(onSilence, timeoutMs);
  const subscription = bus.nc.subscribe(inbox, {
    callback: (error, message) => {
      if (error !== null || message.headers?.code === 503) {
        reject(
          new DroverError('rpc.unavailable', `nobody serves ${method}`, {
            hint: 'is the service running? `drover status`',
            ...(error === null ? {} : { cause: error }),
          }),
        );
        return;
      }
      const reply = parseReply(message.string());
      if (reply?.kind === 'progress') {
        clearTimeout(timer);
        timer = setTimeout(onSilence, timeoutMs);
        try {
          options.onProgress?.(reply.update);
        } catch (failure) {
          giveUp(new DroverError('internal.assertion', 'onProgress failed', { cause: failure }));
        }
      } else if (reply?.kind === 'result') resolve(reply.value);
      else if (reply?.kind === 'error') reject(errorOf(reply));
      else reject(new DroverError('rpc.invalid', `${method} answered what is no answer`));
    },
  });
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    bus.nc.publish(subjectOfMethod(method), JSON.stringify(request ?? {}), { reply: inbox });
  } catch (error) {
    reject(new DroverError('rpc.invalid', 'the request cannot be sent: too large?', { cause: error }));
  }
  return promise.finally(() => {
    clearTimeout(timer);
    subscription.unsubscribe();
    signal?.removeEventListener('abort', onAbort);
  });
}
