/** The table on the terminal: every figure with its gate, if it has one. Pure. */
import { rounded } from '../lib/report.ts';
import type { Gate, GatedCase } from './cases.ts';

export function renderGates(cases: readonly GatedCase[]): string {
  const rows = cases.map((one) => [
    one.case,
    `${one.metric} (${one.unit})`,
    figure(one.drover),
    figure(one.peer),
    figure(one.ratio),
    one.peerName,
    one.gate === undefined ? '' : gateText(one.gate),
    one.pass === undefined ? '' : one.pass ? 'pass' : 'FAIL',
  ]);
  const heads = ['case', 'metric', 'drover', 'peer', 'ratio', 'peer is', 'gate', ''];
  const widths = heads.map((head, i) =>
    Math.max(head.length, ...rows.map((row) => (row[i] as string).length)),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) =>
        i >= 2 && i <= 4 ? cell.padStart(widths[i] as number) : cell.padEnd(widths[i] as number),
      )
      .join('  ')
      .trimEnd();
  return [line(heads), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}

function gateText({ atLeast, atMost }: Gate): string {
  return atLeast === undefined ? `<= ${rounded(atMost as number)}` : `>= ${rounded(atLeast)}`;
}

function figure(value: number): string {
  return String(rounded(value));
}
