/**
 * Documents of json and jsonb as columns: one per path and kind of value, with the shape of every object by number. What is read is rendered
 * byte for byte: keys, strings and odd numbers are carried as spelt, and a document that is spelt unlike the others is carried as text. Whether
 * it pays is weighed against plain text the first time and once in a while.
 *
 * Stream `numbers`: spelling, bytes in all, documents carried as text (their distances as integers, their text as strings), then the nodes.
 */
import { corrupt } from '../header.ts';
import { joinNodes } from './json-join.ts';
import { JsonPrinter } from './json-print.ts';
import { JsonScanner } from './json-scan.ts';
import { splitTape } from './json-split.ts';
import { JSONB_VERSION, type JsonStyle, jsonStyle, jsonStyles } from './json-style.ts';
import { JsonTape } from './json-tape.ts';
import { JsonTree } from './json-tree.ts';
import type { Plan } from './plan.ts';
import type { StringCodec } from './registry.ts';
import { pick, type Slices } from './slices.ts';
import { markOf, rewind, type StreamSink, type StreamSource } from './streams.ts';
import type { Columns } from './text/codec.ts';
import { weighPlain, weighSent } from './text/trial.ts';
import { naturals } from './text/whole.ts';

/** Fewer documents cost more in keys than they save. */
const DOCUMENTS_MIN = 4;
/** Documents looked at to guess whether values are JSON, and how it is spelt. */
const SAMPLE = 16;
/** Blocks until a refusal, or a consent, is put to the test again. */
const REFUSED_BLOCKS = 64;
const TAKEN_BLOCKS = 1024;
/** The same when documents have changed, or what can be learnt of them is at its cap. */
const DOUBTED_BLOCKS = 32;

/** What is remembered of a column. */
interface Memory {
  /** null: it did not pay. */
  tree: JsonTree | null;
  blocks: number;
}

/** Shared: it is empty again before a column of a document is encoded. */
const tape = new JsonTape();

export function jsonCodec(id: number, columns: Columns): StringCodec {
  return {
    id,
    name: 'json',
    encode: (values, sink, plan) => encode(columns, values, sink, plan),
    decode: (source, count) => decode(columns, source, count),
  };
}

function encode(columns: Columns, values: Slices, sink: StreamSink, parent: Plan): boolean {
  if (!looksLikeJson(values)) return false;
  const plan = parent.child('json');
  const memory = plan.memory as Memory | undefined;
  if (memory !== undefined && memory.blocks > 0) {
    memory.blocks--;
    if (memory.tree === null) return false;
    const taken = attempt(columns, values, sink, memory.tree);
    if (!taken || memory.tree.full) memory.blocks = Math.min(memory.blocks, DOUBTED_BLOCKS);
    return taken;
  }
  const tree = choose(columns, values, sink, plan);
  plan.memory = { tree, blocks: tree === null ? REFUSED_BLOCKS : TAKEN_BLOCKS } satisfies Memory;
  return tree !== null && attempt(columns, values, sink, tree);
}

/**
 * Columns with the codec that suits each, or all strings as they are: documents that say the same in several places lose that where strings
 * are coded column by column. Null when plain text is smaller. The sink is left as it was.
 */
function choose(columns: Columns, values: Slices, sink: StreamSink, plan: Plan): JsonTree | null {
  const style = findStyle(values, plan);
  if (style === null) return null;
  const mark = markOf(sink);
  let best: JsonTree | null = null;
  let least = weighPlain(values);
  for (const plainStrings of [false, true]) {
    const tree = new JsonTree(style, plan.child(plainStrings ? 'plain' : 'coded'), plainStrings);
    const bytes = attempt(columns, values, sink, tree) ? weighSent(sink, mark) : Number.POSITIVE_INFINITY;
    rewind(sink, mark);
    if (bytes >= least) continue;
    best = tree;
    least = bytes;
  }
  return best;
}

function firstByte(values: Slices, i: number): number {
  const start = values.starts[i] as number;
  return start < (values.ends[i] as number) ? (values.bytes[start] as number) : 0;
}

/** A look at some values: most start an object or array. */
function looksLikeJson(values: Slices): boolean {
  if (values.count < DOCUMENTS_MIN) return false;
  let likely = 0;
  const step = Math.max(1, Math.floor(values.count / SAMPLE));
  let looked = 0;
  for (let i = 0; i < values.count; i += step) {
    let first = firstByte(values, i);
    if (first === JSONB_VERSION) first = values.bytes[(values.starts[i] as number) + 1] as number;
    looked++;
    if (first === 0x7b || first === 0x5b) likely++;
  }
  return likely * 2 > looked;
}

/** The spelling in which most of the first documents can be read; null when none. */
function findStyle(values: Slices, plan: Plan): JsonStyle | null {
  let best: JsonStyle | null = null;
  let most = 0;
  for (const style of jsonStyles(firstByte(values, 0) === JSONB_VERSION)) {
    const scanner = new JsonScanner(new JsonTree(style, plan, false), tape);
    let read = 0;
    for (let i = 0; i < Math.min(SAMPLE, values.count); i++) {
      if (scanner.scan(values.bytes, values.starts[i] as number, values.ends[i] as number)) read++;
    }
    tape.clear();
    if (read <= most) continue;
    most = read;
    best = style;
  }
  return best;
}

/** False, the sink untouched, when more than half of the documents are spelt otherwise. */
function attempt(columns: Columns, values: Slices, sink: StreamSink, tree: JsonTree): boolean {
  const { bytes, starts, ends, count } = values;
  tape.clear();
  tree.nextBlock();
  const scanner = new JsonScanner(tree, tape);
  const asText: number[] = [];
  let total = 0;
  for (let i = 0; i < count; i++) {
    const start = starts[i] as number;
    const end = ends[i] as number;
    total += end - start;
    if (!scanner.scan(bytes, start, end)) asText.push(i);
  }
  if (asText.length * 2 > count) {
    tape.clear();
    return false;
  }
  sink.numbers.varint(tree.style.flags);
  sink.numbers.varint(total);
  sink.numbers.varint(asText.length);
  splitTape(columns, tree, tape, bytes, sink);
  if (asText.length > 0) {
    const gaps = Float64Array.from(asText, (row, i) => row - (i === 0 ? -1 : (asText[i - 1] as number)) - 1);
    columns.encodeInts(gaps, sink, tree.plan.child('gaps'));
    columns.encodeStrings(pick(values, Uint32Array.from(asText)), sink, tree.plan.child('text'));
  }
  return true;
}

function decode(columns: Columns, source: StreamSource, count: number): Slices {
  const style = jsonStyle(source.numbers.varint());
  if (style === null) throw corrupt('documents are in no known spelling');
  const total = source.numbers.varint();
  const textCount = source.numbers.varint();
  if (textCount > count || count - textCount > total)
    throw corrupt('more documents than bytes', { count, total });
  source.spend(total + 8 * count);
  const root = joinNodes(columns, source, style, count - textCount, total);
  const gaps = textCount === 0 ? null : naturals(columns, source, textCount, count);
  const texts = textCount === 0 ? null : columns.decodeStrings(source, textCount);
  const bytes = Buffer.allocUnsafe(total);
  const starts = new Uint32Array(count);
  const ends = new Uint32Array(count);
  const printer = new JsonPrinter(root, style, bytes);
  let at = 0;
  let text = 0;
  let next = gaps === null ? count : (gaps[0] as number);
  for (let i = 0; i < count; i++) {
    starts[i] = at;
    if (i === next && texts !== null && gaps !== null) {
      const start = texts.starts[text] as number;
      const end = texts.ends[text] as number;
      if (end - start > total - at) throw corrupt('documents are longer than announced');
      texts.bytes.copy(bytes, at, start, end);
      at += end - start;
      text++;
      next = text < textCount ? i + 1 + (gaps[text] as number) : count;
    } else {
      if (i - text >= count - textCount) throw corrupt('a document is missing', { at: i });
      at = printer.print(at);
      if (at > total) throw corrupt('documents are longer than announced');
    }
    ends[i] = at;
  }
  if (at !== total || text !== textCount) throw corrupt('documents are shorter than announced');
  return { bytes, starts, ends, count };
}
