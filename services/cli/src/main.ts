#!/usr/bin/env -S node --external-memory-accounted-in-global-limit --initial-old-space-size=96 --heap-growing-percent=100
/** Where the `drover` command begins: what Node has compiled before is found first. */
import { enableCompileCache } from 'node:module';
import { compiledFolder } from './compiled-folder.ts';

const folder = compiledFolder();
if (folder !== null) enableCompileCache(folder);
await import('./program.ts');
