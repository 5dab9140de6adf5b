/** The configuration from its file. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { DroverError } from '@drover/core';
import { parseConfig } from './parse.ts';
import type { Config } from './types.ts';

export interface LoadOptions {
  /** Default: `drover.toml`. */
  readonly file?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Folder that relative names start from; default: the working folder. */
  readonly cwd?: string;
}

/** @throws DroverError `config.missing`, `config.invalid` */
export function loadConfig(options: LoadOptions = {}): Config {
  const file = resolve(options.cwd ?? process.cwd(), options.file ?? 'drover.toml');
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw new DroverError(
      'config.missing',
      missing ? `no configuration at ${file}` : `the configuration ${file} cannot be read`,
      {
        hint: '`drover init` writes one; --config names another',
        cause: error,
      },
    );
  }
  return parseConfig(text, file, options.env ?? process.env);
}
