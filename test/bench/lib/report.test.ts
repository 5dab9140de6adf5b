import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { renderTable, rounded, summarize, writeReport } from './report.ts';

const rate = { case: 'big', metric: 'rows_per_s', unit: 'rows/s', peerName: 'native' };

describe('summarize', () => {
  it('takes medians of the rounds and divides them', () => {
    const made = summarize({ ...rate, drover: [300, 100, 200], peer: [80, 120, 100] });
    expect(made).toMatchObject({ case: 'big', drover: 200, peer: 100, ratio: 2, peerName: 'native' });
    expect(made.rounds).toEqual({ drover: [300, 100, 200], peer: [80, 120, 100] });
  });
  it('rounds to four digits', () => {
    expect(rounded(123456.78)).toBe(123500);
    expect(rounded(0.00123456)).toBe(0.001235);
  });
});

describe('renderTable', () => {
  it('aligns, groups thousands and shows the ratio of each round', () => {
    const table = renderTable([summarize({ ...rate, drover: [150000, 160000], peer: [100000, 200000] })]);
    expect(table.split('\n')).toEqual(
      [
        'case  metric               drover  peer            ratio  rounds (ratio)',
        '----  -------------------  -------  --------------  -----  --------------'.replace(
          '-------  --',
          '-------  --',
        ),
        'big   rows_per_s (rows/s)  155 000  150 000 native   1.03  1.50 0.80',
      ].map((line, i) => (i === 0 ? line.replace('drover  peer', ' drover  peer') : line)),
    );
  });
});

describe('writeReport', () => {
  it('writes the shape every benchmark shares', () => {
    const folder = mkdtempSync(join(tmpdir(), 'bench-report-'));
    try {
      const cases = [summarize({ ...rate, drover: [2], peer: [1] })];
      const file = {
        name: 'data',
        machine: { cores: 2 },
        at: '2026-01-01T00:00:00Z',
        settings: {},
        notes: [],
        cases,
      };
      const path = writeReport(join(folder, 'out'), file);
      expect(path.endsWith('data.json')).toBe(true);
      const read = JSON.parse(readFileSync(path, 'utf8'));
      expect(Object.keys(read)).toEqual(['name', 'machine', 'at', 'settings', 'notes', 'cases']);
      expect(read.cases[0]).toMatchObject({
        case: 'big',
        metric: 'rows_per_s',
        unit: 'rows/s',
        drover: 2,
        peer: 1,
        peerName: 'native',
        ratio: 2,
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
