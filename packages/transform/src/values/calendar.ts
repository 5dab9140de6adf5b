/**
 * Dates and timestamps as PostgreSQL keeps them: days and microseconds since 2000-01-01 in the proleptic Gregorian calendar; the
 * extreme values stand for infinity. Text in ISO form, zones UTC.
 */
export const DAY_US = 86_400_000_000n;
const EPOCH_FROM_1970 = 10_957n;
/** 4713-11-24 BC, where dates begin (DATETIME_MIN_JULIAN). */
export const DAY_MIN = -2_451_545n;

export const DATE_INFINITY = 2n ** 31n - 1n;
export const DATE_MINUS_INFINITY = -(2n ** 31n);
export const TIME_INFINITY = 2n ** 63n - 1n;
export const TIME_MINUS_INFINITY = -(2n ** 63n);

export interface Civil {
  /** Astronomical: 0 is 1 BC. */
  readonly year: bigint;
  readonly month: number;
  readonly day: number;
}

export function floorDiv(a: bigint, b: bigint): bigint {
  const q = a / b;
  return a % b !== 0n && a < 0n !== b < 0n ? q - 1n : q;
}

/** Days since 2000-01-01 (Hinnant's days_from_civil). */
export function dayOf({ year, month, day }: Civil): bigint {
  const y = month <= 2 ? year - 1n : year;
  const era = floorDiv(y, 400n);
  const yearOfEra = y - era * 400n;
  const dayOfYear = BigInt(Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1);
  const dayOfEra = yearOfEra * 365n + yearOfEra / 4n - yearOfEra / 100n + dayOfYear;
  return era * 146_097n + dayOfEra - 719_468n - EPOCH_FROM_1970;
}

export function civilOf(day: bigint): Civil {
  const z = day + EPOCH_FROM_1970 + 719_468n;
  const era = floorDiv(z, 146_097n);
  const doe = z - era * 146_097n;
  const yoe = (doe - doe / 1460n + doe / 36_524n - doe / 146_096n) / 365n;
  const doy = Number(doe - (365n * yoe + yoe / 4n - yoe / 100n));
  const mp = Math.floor((5 * doy + 2) / 153);
  const month = mp < 10 ? mp + 3 : mp - 9;
  const year = yoe + era * 400n + (month <= 2 ? 1n : 0n);
  return { year, month, day: doy - Math.floor((153 * mp + 2) / 5) + 1 };
}

export function truncateDay(day: bigint, to: 'month' | 'year'): bigint {
  const { year, month } = civilOf(day);
  const first = dayOf({ year, month: to === 'year' ? 1 : month, day: 1 });
  return first < DAY_MIN ? DAY_MIN : first;
}

const TEXT =
  /^(\d{4,7})-(\d\d)-(\d\d)(?:[ T](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?)?(Z|[+-]\d\d(?::?\d\d)?(?::\d\d)?)?( BC)?$/;

export interface ParsedTime {
  readonly day: bigint;
  /** Microseconds of the day; undefined: only a date was given. */
  readonly us: bigint | undefined;
  /** Offset east of UTC, microseconds; undefined: none was given. */
  readonly zone: bigint | undefined;
}

/** Undefined when it is no ISO date or timestamp, or no such day or time exists. */
export function parseTime(text: string): ParsedTime | undefined {
  const m = TEXT.exec(text);
  if (m === null) return undefined;
  const [, y = '', mo = '', d = '', h, mi = '00', s = '00', fraction = '', zone, bc] = m;
  const written = BigInt(y);
  if (written === 0n) return undefined;
  const civil = { year: bc === undefined ? written : 1n - written, month: Number(mo), day: Number(d) };
  const day = dayOf(civil);
  const again = civilOf(day);
  if (again.month !== civil.month || again.day !== civil.day || day < DAY_MIN) return undefined;
  if (h === undefined) return zone === undefined ? { day, us: undefined, zone: undefined } : undefined;
  if (Number(h) > 23 || Number(mi) > 59 || Number(s) > 59) return undefined;
  const seconds = BigInt(h) * 3600n + BigInt(mi) * 60n + BigInt(s);
  const offset = zone === undefined ? undefined : parseZone(zone);
  return { day, us: seconds * 1_000_000n + BigInt(fraction.padEnd(6, '0')), zone: offset };
}

function parseZone(zone: string): bigint {
  if (zone === 'Z') return 0n;
  const [h = '0', m = '0', s = '0'] = zone.slice(1).replaceAll(':', '').match(/\d\d/g) ?? [];
  const us = (BigInt(h) * 3600n + BigInt(m) * 60n + BigInt(s)) * 1_000_000n;
  return zone.startsWith('-') ? -us : us;
}

export function formatDay(day: bigint): string {
  if (day === DATE_INFINITY) return 'infinity';
  if (day === DATE_MINUS_INFINITY) return '-infinity';
  const { text, suffix } = dayText(day);
  return text + suffix;
}

export function formatTime(us: bigint, zone: string): string {
  if (us === TIME_INFINITY) return 'infinity';
  if (us === TIME_MINUS_INFINITY) return '-infinity';
  const day = floorDiv(us, DAY_US);
  const rest = us - day * DAY_US;
  const seconds = rest / 1_000_000n;
  const fraction = String(rest % 1_000_000n)
    .padStart(6, '0')
    .replace(/0+$/, '');
  const hms = [seconds / 3600n, (seconds / 60n) % 60n, seconds % 60n].map((n) => two(Number(n))).join(':');
  const { text, suffix } = dayText(day);
  return `${text} ${hms}${fraction === '' ? '' : `.${fraction}`}${zone}${suffix}`;
}

function dayText(day: bigint): { text: string; suffix: string } {
  const { year, month, day: dayOfMonth } = civilOf(day);
  const shown = year > 0n ? year : 1n - year;
  return {
    text: `${String(shown).padStart(4, '0')}-${two(month)}-${two(dayOfMonth)}`,
    suffix: year > 0n ? '' : ' BC',
  };
}

const two = (n: number): string => String(n).padStart(2, '0');
