/**
 * Documents to measure on: seeded, hence the same on every machine, and spelt as jsonb prints them. Their zstd-3 ratios (about 11, 7 and 16
 * at 1,000 rows) are those of ordinary application data: short keys, few shapes, mostly labels and small numbers.
 */

export type Random = () => number;

/** Mulberry32: 32 bits of state, uniform in [0, 1). */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** As PostgreSQL prints jsonb: keys by length, then bytes; a space behind colon and comma. */
export function jsonbText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(jsonbText).join(', ')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const entries = Object.entries(value).map(([key, v]) => [Buffer.from(key), v] as const);
  entries.sort(([a], [b]) => a.length - b.length || a.compare(b));
  return `{${entries.map(([key, v]) => `${JSON.stringify(key.toString())}: ${jsonbText(v)}`).join(', ')}}`;
}

function pickers(random: Random) {
  const below = (n: number) => Math.floor(random() * n);
  /** The first are the most frequent. */
  const skewed = <T>(values: readonly T[]): T => values[Math.floor(random() ** 2 * values.length)] as T;
  const even = <T>(values: readonly T[]): T => values[below(values.length)] as T;
  const chance = (p: number) => random() < p;
  return { below, skewed, even, chance };
}

const BROWSERS = ['chrome', 'safari', 'firefox', 'edge'];
const CAMPAIGNS = ['spring_sale', 'newsletter', 'retarget', 'brand', 'affiliate'];
const DEVICES = ['iPhone15,2', 'Pixel 8', 'SM-S918B', 'iPhone14,5', 'SM-A546B'];

/** orders.metadata: four shapes. */
export function metadata(count: number, seed = 1): string[] {
  const random = seeded(seed);
  const { below, skewed, even, chance } = pickers(random);
  return Array.from({ length: count }, () => {
    const shape = even([0, 1, 2, 3]);
    if (shape === 0) {
      return jsonbText({
        os: even(['mac', 'win', 'linux']),
        source: 'web',
        browser: even(BROWSERS),
        campaign: skewed(CAMPAIGNS),
        logged_in: chance(0.7),
        items_viewed: 1 + below(16),
        session_seconds: 30 + below(900),
      });
    }
    if (shape === 1) {
      return jsonbText({
        source: 'app',
        device: skewed(DEVICES),
        cart: { items: 1 + below(8), value: (990 + below(80) * 50) / 100 },
        build: 7400 + below(12),
        push: chance(0.5),
        session_seconds: 30 + below(900),
      });
    }
    if (shape === 2) {
      return jsonbText({
        source: 'partner',
        partner_id: 100 + below(60),
        commission: even([0.05, 0.075, 0.1]),
        tags: even([['priority'], ['insured', 'priority'], []]),
        region: even(['eu-west', 'eu-north', 'us-east']),
        net_days: even([14, 30, 60]),
      });
    }
    return jsonbText({
      source: 'store',
      till: 1 + below(12),
      store: { city: skewed(['Hamburg', 'Berlin', 'Leipzig']), number: below(90) },
      gift: chance(0.3),
      cashier: `c-${String(below(40)).padStart(4, '0')}`,
      loyalty_card: chance(0.6),
    });
  });
}

const SECTIONS = ['pricing', 'docs', 'blog', 'home', 'about'];

/** events.properties: eight shapes. */
export function properties(count: number, seed = 2): string[] {
  const random = seeded(seed);
  const { below, skewed, even, chance } = pickers(random);
  const shapes: (() => unknown)[] = [
    () => ({
      section: skewed(SECTIONS),
      load_ms: 80 + below(900),
      referrer: skewed(['google', 'direct', 'mail']),
      scroll_depth: 5 * below(21),
    }),
    () => ({
      target: skewed(['buy', 'more', 'close', 'menu']),
      x: below(1280),
      y: below(800),
      section: skewed(SECTIONS),
    }),
    () => ({
      product_id: 1000 + below(500),
      quantity: 1 + below(4),
      price: (500 + below(200) * 50) / 100,
      currency: 'EUR',
    }),
    () => ({
      query: skewed(['shoes', 'red dress', 'jacket', 'socks']),
      results: below(120),
      page: 1 + below(3),
      took_ms: below(90),
    }),
    () => ({
      video: { id: 200 + below(60), quality: skewed(['720p', '1080p', '480p']) },
      position_seconds: below(600),
      fullscreen: chance(0.3),
    }),
    () => ({
      form: skewed(['signup', 'contact']),
      field: even(['email', 'name', 'phone']),
      valid: chance(0.8),
      attempts: 1 + below(3),
      elapsed_ms: 500 + below(9000),
    }),
    () => ({
      error: { code: even([400, 404, 500, 503]), retry: chance(0.5) },
      load_ms: 80 + below(900),
      section: skewed(SECTIONS),
    }),
    () => ({
      experiment: skewed(['checkout-b', 'hero-copy']),
      variant: even(['a', 'b']),
      exposure: 1 + below(20),
      bucket: below(1000),
    }),
  ];
  return Array.from({ length: count }, () =>
    jsonbText((shapes[Math.floor(random() ** 1.3 * shapes.length)] as () => unknown)()),
  );
}

/** users.prefs: one shape. */
export function prefs(count: number, seed = 3): string[] {
  const random = seeded(seed);
  const { skewed, even, chance } = pickers(random);
  return Array.from({ length: count }, () =>
    jsonbText({
      tz: even(['Europe/Berlin', 'Europe/Paris', 'UTC']),
      theme: skewed(['dark', 'light']),
      lang: skewed(['de', 'en', 'fr', 'pl']),
      per_page: even([25, 50, 100]),
      font_size: even([12, 14, 16, 18]),
      notify: { push: chance(0.5), email: chance(0.7) },
    }),
  );
}

/** Order numbers that count up. */
export function orderNumbers(count: number, seed = 4): string[] {
  const random = seeded(seed);
  let number = 48_211;
  return Array.from({ length: count }, () => {
    number += random() < 0.03 ? 2 : 1;
    return `ORD-2026-${String(number).padStart(8, '0')}-EU`;
  });
}

/** Paths of an application's pages. */
export function urlPaths(count: number, seed = 5): string[] {
  const random = seeded(seed);
  const { below, skewed } = pickers(random);
  const pages: (() => string)[] = [
    () => `/products/${1000 + below(800)}`,
    () => `/app/users/${20_000 + below(3000)}/settings`,
    () => `/catalog/shoes?page=${1 + below(12)}`,
    () => `/products/${1000 + below(800)}/reviews`,
    () => '/checkout/payment-method',
    () => `/orders/${70_000 + below(400)}/status/history`,
  ];
  return Array.from({ length: count }, () => skewed(pages)());
}

/** Now, as PostgreSQL prints it: 40 rows a second at random, microseconds. */
export function timestamps(count: number, seed = 6): string[] {
  const random = seeded(seed);
  let micros = 1_790_000_000_000_000;
  return Array.from({ length: count }, () => {
    micros += Math.round(-Math.log(1 - random()) * 25_000);
    const seconds = new Date(Math.floor(micros / 1000)).toISOString().slice(0, 19).replace('T', ' ');
    const fraction = String(micros % 1_000_000)
      .padStart(6, '0')
      .replace(/0+$/, '');
    return `${seconds}${fraction === '' ? '' : `.${fraction}`}+00`;
  });
}

/** Paths in the order of an index. */
export function sortedPaths(count: number, seed = 7): string[] {
  const random = seeded(seed);
  const { below, skewed, even } = pickers(random);
  const word = () => even(['oak', 'blue', 'tall', 'desk', 'lamp', 'steel', 'soft', 'chair', 'wall', 'mini']);
  const path = () =>
    `/shop/${skewed(['tables', 'lamps', 'chairs', 'beds'])}/${word()}-${word()}-${word()}-${below(1000)}`;
  return Array.from({ length: count }, path).sort();
}
