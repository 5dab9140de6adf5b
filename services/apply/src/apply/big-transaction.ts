/**
 * A source transaction of several blocks: written part by part in one target transaction that stays open across them, so that it
 * becomes visible whole (I3) with the memory of one part (I9). The checkpoint moves only at the end; a restart begins at part 0,
 * which `stream_seq` has not passed.
 */
import { assert, DroverError } from '@drover/core';
import type { Logger } from '@drover/telemetry';
import type { Entry } from '../changes/entry.ts';
import { decide } from '../decide/decide.ts';
import type { Miss } from '../write/row-writer.ts';
import {
  type BatchResult,
  begin,
  finish,
  isSchemaError,
  SchemaMoved,
  schemaMoved,
  type Target,
  writeWork,
} from './batch.ts';
import { park, verdictOf } from './executor.ts';
import type { LedgerNote } from './ledger.ts';
import { type Routed, route } from './route.ts';

/** Parts of a passed-over transaction that are described in the ledger. */
const NOTES_MAX = 16;

export type NextPart = () => Promise<Entry>;

/**
 * `first` is part 0. Resolves when the transaction is committed, passed over, or its tenant parked.
 * @throws what is not the tenant's, and what `mayPass` says will do so when it is tried again from part 0
 */
export async function applyBig(
  target: Target,
  first: Entry,
  next: NextPart,
  { log, mayPass }: { readonly log: Logger; readonly mayPass: (error: unknown) => boolean },
): Promise<BatchResult> {
  const { session } = target;
  try {
    return await attempt(target, first, next);
  } catch (error) {
    await session.rollback().catch(() => undefined);
    if (verdictOf(error) !== 'tenant' || mayPass(error)) throw error; // the lane begins at part 0 again
    if (isSchemaError(error) && (await schemaMoved(target))) throw new SchemaMoved();
    return park(target, first, error, log);
  }
}

async function attempt(target: Target, first: Entry, next: NextPart): Promise<BatchResult> {
  const { session } = target;
  const states = await begin(session, [first]);
  const state = states.get(first.tenant);
  const header = first.block?.header;
  assert(header !== undefined, 'a part is a block');
  const seen = { header, stream: target.stream, seq: first.seq };
  const decision = decide(state, seen, 'catchup');
  const context = { ...target, lane: 'catchup' as const };
  if (decision.kind !== 'apply' || state === undefined || header.part !== 0) {
    if (decision.kind === 'apply') {
      throw new DroverError(
        'bus.truncated',
        `part ${header.part} of a transaction came without those before it`,
      );
    }
    const routed = route([first], states, context);
    await finish(target, { routed, dirty: routed.dirty, misses: [], position: null });
    return { ...routed, states, rows: 0 };
  }
  const before = { ...state };
  const misses: Miss[] = [];
  const notes: LedgerNote[] = [];
  let rows = 0;
  let routed: Routed;
  let entry = first;
  for (let number = 0; ; number++) {
    const part = entry.block?.header;
    assert(
      part !== undefined && part.lastLsn === header.lastLsn,
      'the parts of a transaction follow each other',
      {
        tenant: first.tenant,
      },
    );
    // They would be applied twice, or not at all.
    if (part.part !== number)
      throw new DroverError('bus.truncated', `part ${part.part} of a transaction came in place of ${number}`);
    // Each part is decided as if it were the first of its transaction: the checkpoint stands before it.
    Object.assign(state, before);
    routed = route([entry], states, context);
    if (notes.length < NOTES_MAX) notes.push(...routed.notes);
    misses.push(...(await writePart(target, routed)));
    await session.emptyStages();
    rows += routed.work.reduce((sum, { from, to }) => sum + to - from, 0);
    await target.failpoint?.('part-written');
    if (part.complete) break;
    entry = await next();
  }
  const whole = { ...routed, notes };
  await finish(target, { routed: whole, dirty: whole.dirty, misses, position: null });
  await target.failpoint?.('committed');
  return { ...whole, states, rows };
}

/** Folded; in row order when that fails, as far as this part goes. */
async function writePart(target: Target, routed: Routed): Promise<Miss[]> {
  const { session } = target;
  await session.rows('SAVEPOINT part');
  try {
    const misses = await writeWork(target, routed, 'folded');
    await session.rows('RELEASE SAVEPOINT part');
    return misses;
  } catch (error) {
    if (verdictOf(error) !== 'tenant') throw error;
    await session.rollbackToSavepoint('part');
    target.catalog.forget();
    return writeWork(target, routed, 'rows');
  }
}
