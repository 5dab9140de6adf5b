/** What travels between the two ends of a request. Pure. */
import { CATALOGUE, DroverError, describeError, type ErrorCode } from '@drover/core';

export type Reply =
  | { readonly kind: 'progress'; readonly update: unknown }
  | { readonly kind: 'result'; readonly value: unknown }
  | { readonly kind: 'error'; readonly code: string; readonly message: string; readonly hint?: string };

export function subjectOfMethod(method: string): string {
  return `drover.rpc.${method}`;
}

/** Where the caller says that it no longer waits. */
export function cancelSubject(inbox: string): string {
  return `${inbox}.cancel`;
}

export function errorReply(error: unknown): Reply {
  const ours = error instanceof DroverError;
  return {
    kind: 'error',
    code: ours ? error.code : 'internal.assertion',
    message: ours ? error.message : describeError(error),
    ...(ours && error.hint !== undefined ? { hint: error.hint } : {}),
  };
}

/** What an error reply throws at the caller. A code of a newer version is an internal error here. */
export function errorOf(reply: Extract<Reply, { kind: 'error' }>): DroverError {
  const code = Object.hasOwn(CATALOGUE, reply.code) ? (reply.code as ErrorCode) : 'internal.assertion';
  return new DroverError(code, reply.message, reply.hint === undefined ? {} : { hint: reply.hint });
}

/** Undefined when it is none. */
export function parseReply(text: string): Reply | undefined {
  let reply: unknown;
  try {
    reply = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof reply !== 'object' || reply === null || !('kind' in reply)) return undefined;
  if (reply.kind === 'progress' || reply.kind === 'result') return reply as Reply;
  if (reply.kind === 'error' && 'code' in reply && 'message' in reply) return reply as Reply;
  return undefined;
}
