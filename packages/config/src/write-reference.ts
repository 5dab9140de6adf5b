/** Writes docs/reference/config.md: `node packages/config/src/write-reference.ts`. A test compares the file with what it would write. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { renderConfigReference } from './reference.ts';

const file = fileURLToPath(new URL('../../../docs/reference/config.md', import.meta.url));
mkdirSync(dirname(file), { recursive: true });
writeFileSync(file, renderConfigReference());
console.log(`${file} written`);
