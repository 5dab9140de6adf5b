/**
 * What a benchmark leaves: one JSON file of the same shape for each, and a table on the terminal. `ratio` is drover / peer, whichever
 * way is better for the metric.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { median } from './stats.ts';

export interface BenchCase {
  readonly case: string;
  readonly metric: string;
  readonly unit: string;
  readonly drover: number;
  readonly peer: number;
  readonly peerName: string;
  readonly ratio: number;
  /** What was measured in each round, in order: how far the medians can be trusted. */
  readonly rounds: { readonly drover: readonly number[]; readonly peer: readonly number[] };
}

export interface BenchFile {
  readonly name: string;
  readonly machine: unknown;
  /** ISO time of the end. */
  readonly at: string;
  /** How it was run, and what could not be measured. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly notes: readonly string[];
  readonly cases: readonly BenchCase[];
}

export interface Measured {
  readonly case: string;
  readonly metric: string;
  readonly unit: string;
  readonly peerName: string;
  readonly drover: readonly number[];
  readonly peer: readonly number[];
}

/** Medians of the rounds and their ratio. Pure. */
export function summarize(measured: Measured): BenchCase {
  const { drover, peer, case: name, metric, unit, peerName } = measured;
  const [ours, theirs] = [median(drover), median(peer)];
  return {
    case: name,
    metric,
    unit,
    drover: rounded(ours),
    peer: rounded(theirs),
    peerName,
    ratio: rounded(ours / theirs),
    rounds: { drover: drover.map(rounded), peer: peer.map(rounded) },
  };
}

/** Four significant digits are more than any of this deserves. */
export function rounded(value: number): number {
  return Number(value.toPrecision(4));
}

/** Columns as wide as their widest cell; the first is text, the others are figures. Pure. */
export function renderTable(cases: readonly BenchCase[]): string {
  const heads = ['case', 'metric', 'drover', 'peer', 'ratio', 'rounds (ratio)'];
  const rows = cases.map((c) => [
    c.case,
    `${c.metric} (${c.unit})`,
    grouped(c.drover),
    `${grouped(c.peer)} ${c.peerName}`,
    c.ratio.toFixed(2),
    roundRatios(c).join(' '),
  ]);
  const widths = heads.map((head, i) => Math.max(head.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => (i === 2 || i === 4 ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
      .join('  ')
      .trimEnd();
  return [line(heads), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}

function roundRatios({ rounds }: BenchCase): string[] {
  return rounds.drover.flatMap((ours, i) => {
    const theirs = rounds.peer[i];
    return theirs === undefined ? [] : [(ours / theirs).toFixed(2)];
  });
}

function grouped(value: number): string {
  if (Math.abs(value) < 1000) return String(value);
  return Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, ' ');
}

/** Returns the file's path. */
export function writeReport(folder: string, file: BenchFile): string {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${file.name}.json`);
  writeFileSync(path, `${JSON.stringify(file, null, 2)}\n`);
  return path;
}
