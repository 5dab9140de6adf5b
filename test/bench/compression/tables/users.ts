/** Accounts: little that repeats. */
import { ALNUM, type Random } from '../random.ts';
import type { Table } from '../stream.ts';
import { CITIES, FIRST_NAMES, LAST_NAMES, WORDS } from './words.ts';

const BASE64 = `./${ALNUM}`;
const LOCALES = ['en_US', 'de_DE', 'fr_FR', 'es_ES', 'it_IT'];

export function preferences(random: Random): string {
  return `{"theme": "${random.pick(['light', 'dark', 'auto'])}", "locale": "${random.pick(LOCALES)}", "emails": {"digest": ${random.chance(0.7)}, "offers": ${random.chance(0.3)}}, "page_size": ${random.pick([10, 25, 50])}, "beta": ${random.chance(0.05)}}`;
}

export const users: Table = {
  name: 'users',
  columns: [
    ['id', 20],
    ['email', 25],
    ['full_name', 25],
    ['password_hash', 25],
    ['city', 25],
    ['bio', 25],
    ['preferences', 3802],
    ['created_at', 1184],
    ['last_login', 1184],
    ['active', 16],
  ],
  seed: 8,
  make: (random) => {
    let id = 50_000;
    return {
      transaction: () => ({ rows: 1, afterUs: Math.ceil(random.exponential(500_000)) }),
      row: (sink, time) => {
        id++;
        const first = random.pick(FIRST_NAMES);
        const last = random.pick(LAST_NAMES);
        const name = (s: string) => (s[0] as string).toUpperCase() + s.slice(1);
        sink.insert((row) => {
          row.int8(id);
          row.text(
            `${first}.${last}${random.below(10_000)}@${random.pick(['example.com', 'mail.test', 'corp.example'])}`,
          );
          row.text(`${name(first)} ${name(last)}`);
          row.text(`$2b$12$${random.text(53, BASE64)}`);
          row.text(name(random.pick(CITIES)));
          if (random.chance(0.4)) row.null();
          else row.text(Array.from({ length: random.between(8, 25) }, () => random.pick(WORDS)).join(' '));
          row.jsonb(preferences(random));
          row.timestamptz(time);
          if (random.chance(0.3)) row.null();
          else row.timestamptz(time + Math.floor(random.exponential(5e9)));
          row.bool(random.chance(0.93));
        });
      },
    };
  },
};
