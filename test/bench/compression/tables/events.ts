/** Clicks of visitors: sessions of about ten events each, interleaved. */
import { type Random, uuid4, uuid7, zipf } from '../random.ts';
import { PG_EPOCH_US } from '../row.ts';
import type { Table } from '../stream.ts';
import { CITIES, WORDS } from './words.ts';

const NAMES = Array.from(
  { length: 40 },
  (_, i) => `${WORDS[i]}_${['view', 'click', 'submit', 'scroll'][i % 4]}`,
);
const OPEN_SESSIONS = 60;

const SYSTEMS = [
  'Windows NT 10.0; Win64; x64',
  'Macintosh; Intel Mac OS X 10_15_7',
  'X11; Linux x86_64',
  'Linux; Android 10; K',
];
const PHONE = 3;
const VERSIONS = 22;

/** 150 of Chrome and Edge, 22 versions, four systems; since Chrome 101 browsers send no more of the version than its first number. */
export function userAgents(random: Random): string[] {
  const all = Array.from({ length: VERSIONS * SYSTEMS.length * 2 }, (_, i) => {
    const version = 110 + (i % VERSIONS);
    const edge = Math.floor(i / VERSIONS) % 2 === 0 ? '' : ` Edg/${version}.0.0.0`;
    const system = Math.floor(i / VERSIONS / 2);
    const mobile = system === PHONE ? 'Mobile ' : '';
    return `Mozilla/5.0 (${SYSTEMS[system]}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/${version}.0.0.0 ${mobile}Safari/537.36${edge}`;
  });
  const order = all.map((agent) => ({ agent, at: random.unit() })).sort((a, b) => a.at - b.at);
  return order.slice(0, 150).map(({ agent }) => agent);
}

export function properties(random: Random): string {
  switch (random.below(8)) {
    case 0:
      return `{"x": ${random.below(1920)}, "y": ${random.below(1080)}, "button": "left"}`;
    case 1:
      return `{"depth": ${random.below(101)}, "page_height": ${random.between(900, 9000)}}`;
    case 2:
      return `{"form": "${random.pick(WORDS)}", "fields": ${random.between(1, 12)}, "valid": ${random.chance(0.9)}}`;
    case 3:
      return `{"query": "${random.pick(WORDS)} ${random.pick(WORDS)}", "results": ${random.below(500)}}`;
    case 4:
      return `{"sku": "SKU-${random.between(1000, 9999)}", "price": ${(random.between(100, 99_999) / 100).toFixed(2)}, "quantity": ${random.between(1, 5)}}`;
    case 5:
      return `{"ms": ${Math.round(random.lognormal(5, 0.7))}, "ok": true, "status": 200}`;
    case 6:
      return `{"city": "${random.pick(CITIES)}", "source": "geo", "accuracy": ${random.between(5, 500)}}`;
    default:
      return `{"video": ${random.between(1, 300)}, "second": ${random.below(600)}, "muted": ${random.chance(0.5)}, "speed": 1.0}`;
  }
}

interface Session {
  readonly id: Buffer;
  readonly user: number;
  readonly ip: Buffer;
  readonly agent: string;
  left: number;
}

export const events: Table = {
  name: 'events',
  columns: [
    ['id', 2950],
    ['session_id', 2950],
    ['user_id', 20],
    ['name', 25],
    ['occurred_at', 1184],
    ['url', 25],
    ['ip', 869],
    ['user_agent', 25],
    ['properties', 3802],
  ],
  seed: 3,
  make: (random) => {
    const user = zipf(20_000, 1.1);
    const name = zipf(NAMES.length, 1);
    const page = zipf(500, 0.9);
    const agents = userAgents(random);
    const sessions: Session[] = [];
    const fresh = (): Session => ({
      id: uuid4(random),
      user: 1 + user(random),
      ip: random.bytes(4),
      agent: random.pick(agents),
      left: 2 + Math.floor(random.exponential(8)),
    });
    return {
      transaction: () => ({ rows: random.between(1, 8), afterUs: Math.ceil(random.exponential(20_000)) }),
      row: (sink, time) => {
        const slot = random.below(OPEN_SESSIONS);
        let session = sessions[slot];
        if (session === undefined || session.left === 0) {
          session = fresh();
          sessions[slot] = session;
        }
        session.left--;
        const { id, user: visitor, ip, agent } = session;
        sink.insert((row) => {
          const at = time - random.below(3000);
          row.uuid(uuid7(random, Math.floor((at + PG_EPOCH_US) / 1000)));
          row.uuid(id);
          row.int8(visitor);
          row.text(NAMES[name(random)] as string);
          row.timestamptz(at);
          row.text(`/${random.pick(CITIES)}/products/${1000 + page(random)}`);
          row.inet(ip);
          row.text(agent);
          row.jsonb(properties(random));
        });
      },
    };
  },
};
