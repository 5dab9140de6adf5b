import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { DroverError } from '@drover/core';
import { parseConfig } from './parse.ts';
import type { Config } from './types.ts';

/** Reads `file`, or `drover.toml` in the working folder. @throws DroverError `config.missing`, `config.invalid` */
export function loadConfig(options: { file?: string; env?: NodeJS.ProcessEnv; cwd?: string } = {}): Config {
  const file = resolve(options.cwd ?? process.cwd(), options.file ?? 'drover.toml');
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new DroverError('config.missing', `no configuration at ${file}`, {
      hint: '`drover init` writes one; --config names another',
      cause: error,
    });
  }
  return parseConfig(text, file, options.env ?? process.env);
}
