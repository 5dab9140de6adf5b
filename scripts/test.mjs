/**
 * All tests: makes sure of nats-server, then runs vitest's projects in the order of what they need, cheapest first,
 * and closes with what failed and the counts of all. Arguments go to vitest: `npm test -- packages/block`, `npm test -- --project unit`.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Steps } from './lib/steps.mjs';
import { addUp, chooseProjects, closingLine, failures } from './lib/test-counts.mjs';

const PROJECTS = ['unit', 'servers', 'data', 'system'];
/** What tests started is ended by watchdogs of their own, which need a moment when a run was cut short. */
const CLEAN_UP_MS = 10_000;

process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
const steps = new Steps();
const folder = mkdtempSync(join(tmpdir(), 'drover-run-'));
let code = 1;
try {
  code = await main();
} catch (error) {
  console.error(
    `drover: ${error instanceof Error ? error.message : String(error)}${error?.hint ? `; ${error.hint}` : ''}`,
  );
} finally {
  await watchdogsGone();
  rmSync(folder, { recursive: true, force: true });
}
process.exit(code);

async function main() {
  const { projects, rest } = chooseProjects(process.argv.slice(2), PROJECTS);
  if (projects.some((project) => project !== 'unit')) {
    const { findNatsServer } = await import('../packages/local/src/nats-binary.ts');
    await findNatsServer((line) => console.error(`drover: ${line}`));
  }
  const reports = [];
  let failed = 0;
  for (const project of projects) {
    const report = join(folder, `${project}.json`);
    const options = [
      '--project',
      project,
      '--reporter=default',
      '--reporter=json',
      `--outputFile.json=${report}`,
    ];
    // Files with servers of their own wait more than they work: two at a time.
    if (project !== 'unit') options.push('--fileParallelism', '--maxWorkers=2');
    // A filter that names one file matches nothing in the other projects.
    if (rest.length > 0) options.push('--passWithNoTests');
    const result = await steps.run(
      process.execPath,
      ['node_modules/vitest/vitest.mjs', 'run', ...options, ...rest],
      {
        env: { ...process.env, DROVER_TEST_RUN_DIR: folder },
      },
    );
    if (steps.stopped !== null) return steps.exitCode;
    if (result !== 0) failed ||= result;
    reports.push(readReport(report));
  }
  const counts = addUp(reports);
  if (failed === 0 && counts.passed === 0) {
    console.error('drover: no test matched');
    failed = 1;
  }
  for (const failure of failures(reports, process.cwd())) console.log(failure);
  console.log(closingLine(counts));
  return failed;
}

/** null when vitest did not get as far as writing one. */
function readReport(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return null;
  }
}

async function watchdogsGone() {
  const deadline = performance.now() + CLEAN_UP_MS;
  while (performance.now() < deadline && readdirSync(folder).some((name) => name.startsWith('watchdog-'))) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
