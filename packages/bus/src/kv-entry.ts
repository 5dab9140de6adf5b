/** How an entry of a bucket looks as a message of the bucket's stream. Pure; the format is NATS' own (ADR-8). */
import { assert, DroverError } from '@drover/core';
import type { JsMsg } from '@nats-io/jetstream';

export function bucketStream(bucket: string): string {
  return `KV_${bucket}`;
}

/** @throws DroverError `internal.assertion` for a key that would mean several, or none */
export function subjectOfKey(bucket: string, key: string): string {
  assert(/^[-/=\w]+(\.[-/=\w]+)*$/.test(key), 'a key is made of tokens', { key });
  return `$KV.${bucket}.${key}`;
}

export function keyOfSubject(bucket: string, subject: string): string {
  return subject.slice(`$KV.${bucket}.`.length);
}

/** @throws DroverError `internal.assertion` when it is not JSON */
export function parseEntry<T>(bucket: string, key: string, text: string): T {
  try {
    return JSON.parse(text) as T; // written by `Kv`, under the same type
  } catch (error) {
    throw new DroverError('internal.assertion', `${key} of bucket ${bucket} is not JSON`, {
      cause: error,
      hint: 'somebody wrote it by hand; correct it with the nats command',
    });
  }
}

/** By a client, or by the server when an entry's time was over. */
export function isDeletion(message: { readonly headers?: JsMsg['headers'] }): boolean {
  const operation = message.headers?.get('KV-Operation') ?? '';
  const reason = message.headers?.get('Nats-Marker-Reason') ?? '';
  return operation === 'DEL' || operation === 'PURGE' || reason !== '';
}
