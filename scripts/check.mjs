/**
 * Format, lint, types and the protocol's lint: everything that can be said without running the code.
 * All are run, so that one look shows everything; the exit code is 1 when any failed.
 */
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Steps } from './lib/steps.mjs';

process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
const steps = new Steps();
/** @type {[name: string, program: string, args: string[]][]} */
const checks = [
  ['format and lint', 'biome', ['ci', '--error-on-warnings', '.']],
  ['lint with types', 'oxlint', ['--type-aware', '--deny-warnings', '.']],
  ['types', 'tsc', ['-p', '.']],
];
if (existsSync('proto')) checks.push(['protocol', 'buf', ['lint', 'proto']]);

const failed = [];
for (const [name, program, args] of checks) {
  const start = performance.now();
  const code = await steps.run(program, args);
  if (steps.stopped !== null) process.exit(steps.exitCode);
  console.error(
    `drover: ${name}: ${code === 0 ? 'ok' : 'FAILED'} (${((performance.now() - start) / 1000).toFixed(1)} s)`,
  );
  if (code !== 0) failed.push(name);
}
console.error(failed.length === 0 ? 'drover: all checks passed' : `drover: failed: ${failed.join(', ')}`);
process.exit(failed.length === 0 ? 0 : 1);
