/** Skeletons that values share, and a model for each of their tokens. */
import type { ValueType } from '../types.ts';
import type { FormModel, ValueModel } from './context.ts';
import type { Observation } from './observe.ts';
import { Table } from './table.ts';
import { TemplateForm } from './template-model.ts';
import { keyOf, Tokens } from './tokens.ts';

/** What kind of values these are; tokens are parts of text. */
export type Wanted = ValueType | { readonly kind: 'token' };

const SKELETONS_MAX = 64;
/** A skeleton is worth keeping when it came so often, and in so large a share. */
const COUNT_MIN = 3;
const SHARE_MIN = 0.002;

interface Found {
  readonly pieces: readonly Buffer[];
  readonly tokens: Observation[][];
  count: number;
}

/** What learns the tokens. */
export interface TokenLearner {
  learn(all: readonly Observation[], wanted: Wanted, columns: number): ValueModel;
}

/** Null when values share no skeletons that have tokens. */
export function learnTemplate(
  learner: TokenLearner,
  all: readonly Observation[],
  document: boolean,
  columns: number,
): FormModel | null {
  const kept = commonSkeletons(all, document);
  if (!kept.some(({ tokens }) => tokens.length > 0)) return null;
  const skeletons = kept.map(({ pieces, tokens }) => ({
    pieces,
    tokens: tokens.map((values) => learner.learn(values, { kind: 'token' }, columns)),
  }));
  return new TemplateForm(document, skeletons, Table.of(kept.map(({ count }) => count)));
}

function commonSkeletons(all: readonly Observation[], document: boolean): Found[] {
  const found = new Map<string, Found>();
  const tokens = new Tokens();
  for (const { bytes, row } of all) {
    const read = document
      ? tokens.readDocument(bytes, 0, bytes.length)
      : tokens.readText(bytes, 0, bytes.length);
    if (!read) continue;
    const pieces = tokens.pieces(bytes, 0, bytes.length);
    const key = keyOf(pieces);
    let one = found.get(key);
    if (one === undefined) {
      one = { pieces, tokens: pieces.slice(1).map(() => []), count: 0 };
      found.set(key, one);
    }
    one.count++;
    one.tokens.forEach((values, i) => {
      values.push({ bytes: bytes.subarray(tokens.starts[i], tokens.ends[i]), row });
    });
  }
  return [...found.values()]
    .filter(({ count }) => count >= COUNT_MIN && count >= all.length * SHARE_MIN)
    .sort((a, b) => b.count - a.count)
    .slice(0, SKELETONS_MAX);
}
