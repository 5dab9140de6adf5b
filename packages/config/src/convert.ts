/** One value of the file to one value of the configuration, by the option's type; what is wrong with it in words. Pure. */
import type { Option } from './options.ts';
import { formatDuration, formatSize, parseDuration, parseSize } from './values.ts';

export type Converted =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly wrong: string };

/** `expand` replaces environment variables in texts. */
export function convert(option: Option, given: unknown, expand: (text: string) => string): Converted {
  const value = typed(option, given, expand);
  if (value === undefined) return { ok: false, wrong: `${shown(option, given)} is not ${expected(option)}` };
  const { min = 0, max } = option;
  if (typeof value === 'number' && (value < min || (max !== undefined && value > max))) {
    return { ok: false, wrong: `${shown(option, given)} is out of bounds: ${bounds(option)}` };
  }
  return { ok: true, value };
}

/** Undefined when it is not of the option's type. Numbers and booleans may come out of the environment as texts. */
function typed(option: Option, given: unknown, expand: (text: string) => string): unknown {
  const value = typeof given === 'string' ? expand(given) : given;
  const fromEnv = typeof given === 'string' && given !== value;
  switch (option.type) {
    case 'text':
    case 'secret':
      return typeof value === 'string' && !value.includes('\0') ? value : undefined;
    case 'choice':
      return typeof value === 'string' && option.choices?.includes(value) ? value : undefined;
    case 'integer': {
      const n = fromEnv && /^\d+$/.test(String(value)) ? Number(value) : value;
      return Number.isSafeInteger(n) ? n : undefined;
    }
    case 'boolean':
      if (fromEnv && (value === 'true' || value === 'false')) return value === 'true';
      return typeof value === 'boolean' ? value : undefined;
    case 'duration':
      return parseDuration(value);
    case 'size':
      return parseSize(value);
    case 'list':
      return Array.isArray(value) && value.every((v) => typeof v === 'string')
        ? value.map((v) => expand(v))
        : undefined;
    case 'map':
      if (!isTable(value)) return undefined;
      return Object.values(value).every((v) => typeof v === 'string')
        ? Object.fromEntries(Object.entries(value).map(([k, v]) => [k, expand(String(v))]))
        : undefined;
  }
}

function shown(option: Option, given: unknown): string {
  return option.type === 'secret' ? '***' : JSON.stringify(given);
}

function expected(option: Option): string {
  switch (option.type) {
    case 'text':
    case 'secret':
      return 'a text';
    case 'choice':
      return `one of ${(option.choices ?? []).join(', ')}`;
    case 'integer':
      return 'a whole number';
    case 'boolean':
      return 'true or false';
    case 'duration':
      return 'a duration (ms, s, m, h, d)';
    case 'size':
      return 'a size (B, KiB, MiB, GiB, TiB)';
    case 'list':
      return 'a list of texts';
    case 'map':
      return 'a map of texts';
  }
}

/** `1 to 256`, `at least 100ms`; empty where there are none. */
export function bounds(option: Option): string {
  const { min, max } = option;
  const text = (n: number) =>
    option.type === 'duration' ? formatDuration(n) : option.type === 'size' ? formatSize(n) : String(n);
  if (min !== undefined && max !== undefined) return `${text(min)} to ${text(max)}`;
  if (min !== undefined && min > 0) return `at least ${text(min)}`;
  return max === undefined ? '' : `at most ${text(max)}`;
}

export function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}
