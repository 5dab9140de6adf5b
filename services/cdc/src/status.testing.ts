/** For tests: what a reader says of itself, and waiting for it. */
import { callRpc } from '@drover/bus';
import { until } from '@drover/core';
import type { World } from './world.testing.ts';

export async function eventually(
  what: string,
  probe: () => Promise<boolean>,
  timeoutMs = 90_000,
): Promise<void> {
  await until(async () => (await probe()) || undefined, {
    everyMs: 50,
    timeoutMs,
    onTimeout: () => new Error(`not in time: ${what}`),
  });
}

export async function readyz(url: string): Promise<{ status: number; text: string }> {
  const response = await fetch(`${url}/readyz`);
  return { status: response.status, text: await response.text() };
}

export async function metric(url: string, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(new RegExp(`^${name}\\{[^}]*\\} (\\S+)`, 'm').exec(text)?.[1]);
}

/** Of the first database; undefined while nobody answers. */
export async function statusOf(
  world: World,
): Promise<{ state: string; code: string | null; reason: string } | undefined> {
  const answer = await callRpc(world.bus, 'cdc.east.status', {}, { timeoutMs: 20_000 }).catch(() => ({}));
  const { databases } = answer as { databases?: NonNullable<Awaited<ReturnType<typeof statusOf>>>[] };
  return databases?.[0];
}
