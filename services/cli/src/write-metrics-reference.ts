/** Writes docs/reference/metrics.md: `node services/cli/src/write-metrics-reference.ts`. A test compares the file with what it would write. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { renderMetricsReference } from './metrics-reference.ts';

writeFileSync(
  join(import.meta.dirname, '../../../docs/reference/metrics.md'),
  await renderMetricsReference(),
);
