/**
 * A block's body as columns. Stored form: version, then frames: numbers, planes, text, random, then one per column with text of its own. The
 * numbers stream starts with the records' structure (symbols, sequence, transactions), then the begin records, then each group's columns.
 */
import { assert } from '@drover/core';
import { compress } from '../zstd.ts';
import { ByteWriter } from './bytes.ts';
import { OWN_TEXT } from './cells.ts';
import { decodeColumnar } from './decode.ts';
import { writeFrame } from './frames.ts';
import { type EncodedGroup, encodeGroup, sizeClass } from './group.ts';
import { Guard } from './guard.ts';
import { COLUMNAR_RAW_BYTES_MAX, COLUMNAR_VERSION, RAW_BYTES_MIN } from './limits.ts';
import type { Plan } from './plan.ts';
import { PlanCache } from './plan-cache.ts';
import { type Group, type Scan, scanBody } from './scan.ts';
import { newSink } from './streams.ts';
import { writeStructure } from './structure.ts';
import { encodeBegins, readBegins, timesOf } from './transactions.ts';
import './wire.ts';

export { PlanCache };

const TEXT_LEVEL = 3;
const LEVEL = 1;
/** Text that may get a frame of its own. */
const OWN_BYTES_MIN = 1024;
const OWN_TRIED_MAX = 6;
const OWN_GAIN_MIN = 0.995;
/** Of blocks without rows. */
const NO_TABLE = '';

/**
 * The same rows after the same history of plans give the same bytes. What is returned was read back and found to be equal. Null when columns are
 * no smaller than plain compression of the body (checked by samples where the difference is large), or the body is not one this encoding
 * understands: the block then travels as rows.
 */
export function encodeColumnar(raw: Buffer, plans: PlanCache): Buffer | null {
  if (raw.length < RAW_BYTES_MIN || raw.length > COLUMNAR_RAW_BYTES_MAX) return null;
  const scan = scanBody(raw);
  if (scan === null) return null;
  const main = largest(scan);
  const plan = plans.table(main?.relation.key ?? NO_TABLE).child(`${main?.op}.${sizeClass(main?.rows ?? 0)}`);
  if (!(plan.memory instanceof Guard)) plan.memory = new Guard();
  const guard = plan.memory as Guard;
  if (guard.skip()) return null;
  try {
    const stored = encodeScan(scan, plans, plan);
    if (stored.length >= raw.length || !guard.worth(raw, stored.length, LEVEL)) return null;
    assert(decodeColumnar(stored, raw.length).equals(raw), 'columns do not come back as the rows they were');
    return stored;
  } catch (error) {
    // A fault in some codec must neither reach a replica nor stop the tenants that share this reader (I7).
    plans.noteFault(error);
    guard.giveUp();
    return null;
  }
}

/** The group of most rows: what a block is mainly about. */
function largest(scan: Scan): Group | null {
  let most: Group | null = null;
  for (const { group } of scan.symbols) if (group !== null && group.rows > (most?.rows ?? 0)) most = group;
  return most;
}

/** Without any comparison: for tests. Null only for what this encoding does not understand. */
export function encodeUnguarded(raw: Buffer, plans: PlanCache): Buffer | null {
  const scan = scanBody(raw);
  return scan === null ? null : encodeScan(scan, plans, plans.table(NO_TABLE));
}

function encodeScan(scan: Scan, plans: PlanCache, plan: Plan): Buffer {
  const sink = newSink();
  writeStructure(scan, sink, plan.child('structure'));
  const begins = readBegins(scan.body, scan.begins);
  encodeBegins(begins, sink, plan.child('begins'));
  const groups: EncodedGroup[] = [];
  for (const { group } of scan.symbols) {
    if (group === null) continue;
    const own = plans.table(group.relation.key).child(`${group.op}.${sizeClass(group.rows)}`);
    const times = timesOf(begins, group.transactions);
    groups.push(encodeGroup(group, scan.body, times, sink, own.child('columns')));
  }
  // What was decided just now counts for this block too.
  if (groups.some((group) => group.planned) && chooseOwn(sink.text, groups))
    return encodeScan(scan, plans, plan);
  const out = new ByteWriter(scan.body.length >> 2);
  out.u8(COLUMNAR_VERSION);
  writeFrame(sink.numbers.written, LEVEL, out);
  writeFrame(sink.planes.written, LEVEL, out);
  writeFrame(sink.text.written, TEXT_LEVEL, out);
  writeFrame(sink.random.written, 0, out);
  for (const group of groups) for (const own of group.own) writeFrame(own.written, TEXT_LEVEL, out);
  return out.written;
}

/** Decides which columns' text compresses better apart from the others'. @returns whether there are any */
function chooseOwn(text: ByteWriter, groups: readonly EncodedGroup[]): boolean {
  const parts = groups
    .flatMap((group) => group.parts)
    .filter(({ plan, start, end }) => plan.memory !== OWN_TEXT && end - start >= OWN_BYTES_MIN)
    .sort((a, b) => b.end - b.start - (a.end - a.start) || a.start - b.start)
    .slice(0, OWN_TRIED_MAX);
  if (parts.length === 0) return false;
  let found = false;
  let pool = Buffer.from(text.written);
  // Parts are cut out from the last to the first, so that places before them stay right.
  parts.sort((a, b) => b.start - a.start);
  let together = compress(pool, TEXT_LEVEL).length;
  for (const { plan, start, end } of parts) {
    const rest = Buffer.concat([pool.subarray(0, start), pool.subarray(end)]);
    const restBytes = rest.length === 0 ? 0 : compress(rest, TEXT_LEVEL).length;
    const apart = restBytes + compress(pool.subarray(start, end), TEXT_LEVEL).length + 6;
    if (rest.length === 0 || apart > together * OWN_GAIN_MIN) continue;
    plan.memory = OWN_TEXT;
    found = true;
    pool = rest;
    together = restBytes;
  }
  return found;
}
