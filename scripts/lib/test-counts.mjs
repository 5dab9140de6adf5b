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

/**
 * What failed, a line or more each, so that the end of a long log says which: file, test, and how its message begins.
 * `root` is taken off the files' names.
 */
export function failures(reports, root, lines = 12) {
  const said = [];
  for (const report of reports) {
    for (const file of report?.testResults ?? []) {
      const name = file.name.startsWith(`${root}/`) ? file.name.slice(root.length + 1) : file.name;
      const failed = file.assertionResults.filter((test) => test.status === 'failed');
      for (const test of failed)
        said.push(`FAILED ${name}: ${test.fullName}\n${begin(test.failureMessages.join('\n'), lines)}`);
      if (file.status === 'failed' && failed.length === 0)
        said.push(`FAILED ${name}\n${begin(file.message ?? '', lines)}`);
    }
  }
  return said;
}

function begin(text, lines) {
  return text
    .split('\n')
    .slice(0, lines)
    .map((line) => `  ${line}`)
    .join('\n');
}

export function closingLine({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}
