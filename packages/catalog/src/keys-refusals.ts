/** Why a key cannot be had, and what to do about it. */
import { DroverError, describeError, type TenantId } from '@drover/core';

export function unavailable(tenant: TenantId, why: string, cause?: unknown): DroverError {
  const text = cause === undefined ? why : `${why} (${describeError(cause)})`;
  return new DroverError('key.unavailable', `tenant ${tenant} cannot be sealed: ${text}`, {
    facts: { tenant },
    hint: 'nothing of it is published unsealed; `drover key list` shows which keys there are',
  });
}

export const PUT_RIGHT =
  'give this process the right one ([security] master_key; restart it unless it has a file), and the tenant goes on';

export function shreddedKey(tenant: TenantId, id: number): DroverError {
  const why =
    id === 0
      ? 'it was written when the keys of the tenant had been shredded, under one that nobody kept'
      : 'that key was shredded';
  return unopened(
    tenant,
    id,
    why,
    `nobody can read it again; \`drover tenant seal ${tenant}\` makes a new key, \`drover tenant replicate ${tenant} --to <cluster> --anew\` copies the rows`,
  );
}

export function unopened(tenant: TenantId, keyId: number, why: string, hint: string): DroverError {
  return new DroverError('block.sealed', `a block of tenant ${tenant} is sealed under key ${keyId}: ${why}`, {
    facts: { tenant, keyId },
    hint,
  });
}
