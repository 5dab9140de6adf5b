/** The parts of scripts/ that decide something. They are plain JavaScript, for Node 20 must run them before anything is installed. */
import { expect, test } from 'vitest';

const scripts = new URL('../../../scripts/lib/', import.meta.url);

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

const counts = (await import(new URL('test-counts.mjs', scripts).href)) as {
  addUp(reports: readonly unknown[]): Counts;
  closingLine(counts: Counts): string;
  failures(reports: readonly unknown[], root: string): string[];
  chooseProjects(args: readonly string[], known: readonly string[]): { projects: string[]; rest: string[] };
};
const install = (await import(new URL('install.mjs', scripts).href)) as {
  explainNpm(result: { output: string }): string;
};

const report = (passed: number, failed: number, testResults: unknown[] = []) => ({
  numPassedTests: passed,
  numFailedTests: failed,
  numPendingTests: 0,
  numTodoTests: 0,
  testResults,
});

test('counts of all runs, with the file that could not be loaded and the run that wrote no report', () => {
  const broken = { status: 'failed', assertionResults: [] };
  const failing = { status: 'failed', assertionResults: [{ status: 'failed' }] };
  const sum = counts.addUp([report(3, 0), report(2, 1, [failing, broken]), null]);
  expect(counts.closingLine(sum)).toBe('5 passed, 3 failed');
});

test('what failed is said again at the end: file, test and how its message begins', () => {
  const file = {
    name: '/home/a/drover/test/data/x.test.ts',
    status: 'failed',
    assertionResults: [
      { status: 'passed', fullName: 'goes well', failureMessages: [] },
      {
        status: 'failed',
        fullName: 'rows are equal',
        failureMessages: [`expected 1 to be 2\n${'at\n'.repeat(40)}`],
      },
    ],
  };
  const broken = {
    name: '/home/a/drover/y.test.ts',
    status: 'failed',
    message: 'hook timed out',
    assertionResults: [],
  };
  const said = counts.failures([report(1, 1, [file, broken]), null], '/home/a/drover');
  expect(said).toHaveLength(2);
  expect(said[0]).toMatch(/^FAILED test\/data\/x\.test\.ts: rows are equal\n {2}expected 1 to be 2\n/);
  expect(said[0]?.split('\n').length).toBeLessThan(15);
  expect(said[1]).toBe('FAILED y.test.ts\n  hook timed out');
});

test('--project chooses, in the usual order; the rest goes to vitest', () => {
  const known = ['unit', 'servers', 'system'];
  expect(counts.chooseProjects(['packages/pg', '-t', 'x'], known)).toEqual({
    projects: known,
    rest: ['packages/pg', '-t', 'x'],
  });
  expect(counts.chooseProjects(['--project=system', 'a', '--project', 'unit'], known)).toEqual({
    projects: ['unit', 'system'],
    rest: ['a'],
  });
  expect(() => counts.chooseProjects(['--project', 'unti'], known)).toThrow('no test project is named unti');
});

test.each([
  ['npm error code ENOTFOUND\nnpm error network request to x failed', 'cannot be reached'],
  ['ENOENT npm', 'npm was not found'],
  ['npm error code EACCES', 'may not write'],
  ['npm error code ENOSPC', 'disk is full'],
  ['npm error code E404\nnpm error 404 Not Found', 'npm error 404 Not Found'],
])('what npm said becomes a sentence: %s', (output, sentence) => {
  expect(install.explainNpm({ output })).toContain(sentence);
});
