/** Writes docs/reference/errors.md. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { renderErrorReference } from './error-reference.ts';

const file = join(import.meta.dirname, '../../../docs/reference/errors.md');
writeFileSync(file, renderErrorReference());
