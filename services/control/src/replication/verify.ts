/** VerifyTenant: each live replica is compared with the primary, one after the other; the result is that of all. */
import { callRpc } from '@drover/bus';
import { type Deferred, DroverError, deferred } from '@drover/core';
import type { Sent, VerifyTenantRequest, VerifyTenantResponseSchema } from '@drover/rpc';
import { type ControlContext, placementOf, tenantOf } from '../context.ts';
import { count, list, table, text, texts } from '../peers.ts';

type Answer = Sent<typeof VerifyTenantResponseSchema>;

/** Longest silence of the migration service: comparing one large table tells nothing meanwhile. */
const SILENCE_MS = 10 * 60_000;
/** Lines of progress that wait for a slow reader; past this the oldest are dropped. */
const LINES_MAX = 100;

export async function* verifyTenant(
  context: ControlContext,
  request: VerifyTenantRequest,
  signal: AbortSignal,
): AsyncGenerator<Answer, void, undefined> {
  const tenant = tenantOf(request.tenant);
  const placement = await placementOf(context, tenant);
  const states = Object.entries(placement.replicas);
  const live = states.filter(([, replica]) => replica.state === 'live').map(([cluster]) => cluster);
  if (live.length === 0) {
    const others = states.map(([cluster, { state }]) => `${cluster} is ${state}`).join(', ');
    throw new DroverError(
      'tenant.no_replica',
      `${tenant} has no live replica to compare with${others === '' ? '' : ` (${others})`}`,
      {
        hint:
          others === ''
            ? `\`drover tenant replicate ${tenant} --to <cluster>\` adds one`
            : 'wait until it is live',
      },
    );
  }
  const tables = [];
  let equal = true;
  for (const target of live) {
    yield progress(`comparing ${placement.primary} and ${target}`);
    let result: unknown;
    for await (const event of verifyOne(context, { tenant, target }, signal)) {
      if ('line' in event) yield progress(`${target}: ${event.line}`);
      else result = event.result;
    }
    const found = table(result);
    equal &&= found['equal'] === true;
    for (const t of list(found['tables'])) {
      const { table: name, rows, equal: same, differing } = t;
      tables.push({
        table: text(name),
        target,
        rows: BigInt(count(rows)),
        equal: same === true,
        differingKeys: texts(differing),
      });
    }
  }
  const notCompared = states.map(([cluster]) => cluster).filter((cluster) => !live.includes(cluster));
  yield { event: { case: 'result', value: { equal, tables, notCompared } } };
}

function progress(line: string): Answer {
  return { event: { case: 'progress', value: line } };
}

/** The lines that the migration service says, then its result. */
async function* verifyOne(
  context: ControlContext,
  question: { tenant: string; target: string },
  signal: AbortSignal,
): AsyncGenerator<{ line: string } | { result: unknown }, void, undefined> {
  const lines: string[] = [];
  let woken: Deferred<void> = deferred();
  let running = true;
  const call = callRpc(context.bus, 'migration.verify', question, {
    timeoutMs: SILENCE_MS,
    signal,
    onProgress: (update) => {
      if (lines.length >= LINES_MAX) lines.shift();
      lines.push(text(table(update)['line']));
      woken.resolve();
    },
  }).finally(() => {
    running = false;
    woken.resolve();
  });
  call.catch(() => undefined); // awaited below, after the lines
  while (running || lines.length > 0) {
    const line = lines.shift();
    if (line !== undefined) {
      yield { line };
      continue;
    }
    await woken.promise;
    woken = deferred();
  }
  yield { result: await call };
}
