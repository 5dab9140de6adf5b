#!/usr/bin/env -S node --external-memory-accounted-in-global-limit --initial-old-space-size=96 --heap-growing-percent=100
/**
 * Where the `drover` command begins. What Node has made of the modules is kept for the next time (manual, node:module, "Module compile cache"): most verbs
 * take less time than their modules took to be read. A folder that cannot be written only costs that time.
 */
import { enableCompileCache } from 'node:module';
import { join } from 'node:path';
import { cacheDir } from '@drover/local/paths.ts';

enableCompileCache(join(cacheDir(), 'compiled'));
await import('./program.ts');
