import { DroverError } from './errors.ts';

/** Stops the unit of work on a broken invariant, in production too. */
export function assert(
  condition: unknown,
  message: string,
  facts?: Record<string, unknown>,
): asserts condition {
  if (!condition) throw new DroverError('internal.assertion', message, facts === undefined ? {} : { facts });
}

/** The value, which the caller knows to be there. */
export function must<T>(value: T | null | undefined, what: string): T {
  if (value === null || value === undefined) throw new DroverError('internal.assertion', `missing: ${what}`);
  return value;
}

export function assertNever(value: never): never {
  throw new DroverError('internal.assertion', `unexpected value: ${JSON.stringify(value)}`);
}
