/** How option values are written: durations, sizes, environment variables. Pure. */

const DURATION_UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const SIZE_UNITS = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4 } as const;

/** `500ms`, `1.5s`, `2m`, `1h`, `7d`, or a number of milliseconds; undefined when it is none of these. */
export function parseDuration(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 0 ? value : undefined;
  if (typeof value !== 'string') return undefined;
  const [, amount, unit] = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)$/.exec(value.trim()) ?? [];
  if (!isKey(DURATION_UNITS, unit)) return undefined;
  const ms = Math.round(Number(amount) * DURATION_UNITS[unit]);
  return Number.isSafeInteger(ms) ? ms : undefined;
}

/** `512KiB`, `64MiB`, `8GiB`, `100B`, or a number of bytes; undefined when it is none of these. */
export function parseSize(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 0 ? value : undefined;
  if (typeof value !== 'string') return undefined;
  const [, amount, unit] = /^(\d+)\s*(B|KiB|MiB|GiB|TiB)$/.exec(value.trim()) ?? [];
  if (!isKey(SIZE_UNITS, unit)) return undefined;
  const bytes = Number(amount) * SIZE_UNITS[unit];
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** Shortest exact form; the inverse of {@link parseDuration}. */
export function formatDuration(ms: number): string {
  return format(ms, DURATION_UNITS, 'ms');
}

/** Shortest exact form; the inverse of {@link parseSize}. */
export function formatSize(bytes: number): string {
  return format(bytes, SIZE_UNITS, 'B');
}

function format(value: number, units: Readonly<Record<string, number>>, smallest: string): string {
  const [unit = smallest, size = 1] =
    Object.entries(units).findLast(([, size]) => value >= size && value % size === 0) ?? [];
  return `${value / size}${unit}`;
}

function isKey<T extends object>(units: T, unit: string | undefined): unit is keyof T & string {
  return unit !== undefined && Object.hasOwn(units, unit);
}

/** Replaces `${NAME}`; `$${` stands for `${` itself. Calls `missing` for each variable that is not set. */
export function expandEnv(text: string, env: NodeJS.ProcessEnv, missing: (name: string) => void): string {
  return text.replace(
    /\$(\$\{)|\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g,
    (_, literal: string | undefined, name: string) => {
      if (literal !== undefined) return literal;
      const value = env[name];
      if (value === undefined) missing(name);
      return value ?? '';
    },
  );
}

/** The known word nearest to `word`, when it is near enough to be a slip of the finger. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const near = Math.max(2, Math.floor(word.length / 3));
  return known
    .map((candidate) => ({ candidate, d: distance(word.toLowerCase(), candidate) }))
    .filter(({ d }) => d <= near)
    .sort((a, b) => a.d - b.d)[0]?.candidate;
}

/** Levenshtein distance. */
function distance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min((row[j - 1] ?? 0) + 1, (previous[j] ?? 0) + 1, change));
    }
    previous = row;
  }
  return previous[b.length] ?? 0;
}
