/**
 * Which of vitest's projects are run, and the counts of their runs together.
 */

/** Takes `--project <name>` (any number of them) out of the arguments; none given: all of `known`. */
export function chooseProjects(args, known) {
  const chosen = new Set();
  const rest = [];
  for (let i = 0; i < args.length; i++) {
    if (args[i] === '--project') chosen.add(args[++i]);
    else if (args[i].startsWith('--project=')) chosen.add(args[i].slice('--project='.length));
    else rest.push(args[i]);
  }
  const unknown = [...chosen].filter((name) => !known.includes(name));
  if (unknown.length > 0)
    throw new Error(`no test project is named ${unknown.join(', ')}: there are ${known.join(', ')}`);
  return { projects: chosen.size === 0 ? [...known] : known.filter((name) => chosen.has(name)), rest };
}

/** A run without a report (vitest itself failed) counts as one failure; so does a file that could not be loaded. */
export function addUp(reports) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const report of reports) {
    if (report === null) {
      counts.failed++;
      continue;
    }
    counts.passed += report.numPassedTests;
    counts.failed += report.numFailedTests;
    counts.skipped += report.numPendingTests + report.numTodoTests;
    for (const file of report.testResults) {
      if (file.status === 'failed' && file.assertionResults.every((test) => test.status !== 'failed'))
        counts.failed++;
    }
  }
  return counts;
}

export function closingLine({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}
