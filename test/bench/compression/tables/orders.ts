/** Orders of a shop: the commonest shape of a tenant's table, with a little of everything. */
import { type Random, uuid4, weighted, zipf } from '../random.ts';
import type { RowWriter } from '../row.ts';
import { type RowSink, type Source, START_US, type Table } from '../stream.ts';
import { WORDS } from './words.ts';

const COLUMNS: Table['columns'] = [
  ['id', 20],
  ['tenant_id', 2950],
  ['customer_id', 20],
  ['status', 25],
  ['channel', 25],
  ['currency', 1042],
  ['total', 1700],
  ['tax', 1700],
  ['created_at', 1184],
  ['updated_at', 1184],
  ['external_ref', 2950],
  ['order_no', 25],
  ['notes', 25],
  ['is_gift', 16],
  ['metadata', 3802],
];

export const STATUSES = ['pending', 'paid', 'shipped', 'delivered', 'cancelled', 'refunded', 'processing'];
export const STATUS_WEIGHTS = [30, 25, 18, 15, 6, 3, 3];
const CHANNELS = ['web', 'ios', 'android', 'marketplace'];
const CURRENCIES = ['EUR', 'USD', 'GBP', 'CHF', 'SEK'];
const CAMPAIGNS = ['spring_sale', 'newsletter_12', 'retarget_b', 'partner_xy', 'none', 'brand_search'];
const DEVICES = ['iPhone15,3', 'Pixel 8', 'SM-S911B', 'iPad14,1'];

interface Order {
  readonly id: number;
  readonly customer: number;
  status: number;
  readonly channel: number;
  readonly currency: number;
  readonly total: number;
  readonly created: number;
  updated: number;
  readonly ref: Buffer;
  notes: string | null;
  readonly gift: boolean;
  readonly metadata: string;
}

export function metadata(random: Random): string {
  switch (random.below(4)) {
    case 0:
      return `{"cart": {"id": ${random.between(1e7, 9e7)}, "items": ${random.between(1, 9)}}, "source": "web", "campaign": "${random.pick(CAMPAIGNS)}", "first_order": ${random.chance(0.2)}}`;
    case 1:
      return `{"app": {"build": ${random.between(4100, 4130)}, "version": "5.${random.below(4)}.1"}, "device": "${random.pick(DEVICES)}", "source": "app", "push_enabled": ${random.chance(0.6)}}`;
    case 2:
      return `{"source": "marketplace", "seller": {"name": "${random.pick(CAMPAIGNS)}", "rating": 4.${random.below(10)}}, "commission": ${random.between(5, 15)}, "fulfilled_by": "seller", "express": ${random.chance(0.1)}}`;
    default:
      return `{"tags": ["${random.pick(WORDS)}", "${random.pick(WORDS)}"], "source": "import", "batch": ${random.between(100, 140)}, "operator": null, "checked": true, "weight_kg": ${(random.below(400) / 10).toFixed(1)}}`;
  }
}

/** Orders that may still change. */
const OPEN_MAX = 2000;
const OPEN_MIN = 50;

class Orders implements Source {
  readonly #random: Random;
  readonly #mixed: boolean;
  readonly #tenant: Buffer;
  readonly #customer = zipf(50_000, 1.05);
  readonly #status = weighted(STATUS_WEIGHTS);
  readonly #channel = weighted([50, 25, 20, 5]);
  readonly #currency = weighted([60, 20, 10, 6, 4]);
  #id = 1_000_000;
  readonly #open: Order[] = [];

  constructor(random: Random, mixed: boolean) {
    this.#random = random;
    this.#mixed = mixed;
    this.#tenant = uuid4(random);
    // Orders that stand open when the stream begins: the first block is like the others.
    if (mixed)
      for (let i = 0; i < OPEN_MAX; i++) this.#open.push(this.#make(START_US - (OPEN_MAX - i) * 40_000));
  }

  transaction(): { rows: number; afterUs: number } {
    const random = this.#random;
    return {
      rows: random.chance(0.85) ? 1 : random.between(2, 4),
      afterUs: Math.ceil(random.exponential(25_000)),
    };
  }

  row(sink: RowSink, time: number): void {
    const random = this.#random;
    const dice = this.#mixed ? random.unit() : 0;
    if (!this.#mixed || dice < 0.6 || this.#open.length < OPEN_MIN) {
      const order = this.#make(time);
      if (this.#mixed) this.#open.push(order);
      if (this.#open.length > OPEN_MAX) this.#open.shift();
      sink.insert((row) => this.#write(row, order));
      return;
    }
    const at = Math.max(0, this.#open.length - 1 - Math.floor(random.exponential(300)));
    const order = this.#open[at] as Order;
    if (dice < 0.95) {
      const old = { ...order };
      order.status = Math.min(order.status + 1, STATUSES.length - 1);
      order.updated = time;
      sink.update(
        (row) => this.#write(row, old),
        (row) => this.#write(row, order),
      );
      return;
    }
    this.#open.splice(at, 1);
    sink.delete((row) => {
      row.int8(order.id);
      for (let i = 1; i < COLUMNS.length; i++) row.null();
    });
  }

  #make(time: number): Order {
    const random = this.#random;
    this.#id += random.chance(0.03) ? random.between(2, 4) : 1;
    return {
      id: this.#id,
      customer: 1 + this.#customer(random),
      status: this.#status(random),
      channel: this.#channel(random),
      currency: this.#currency(random),
      total: Math.round(random.lognormal(8.5, 1)),
      created: time,
      updated: time,
      ref: uuid4(random),
      notes: random.chance(0.15)
        ? Array.from({ length: random.between(3, 9) }, () => random.pick(WORDS)).join(' ')
        : null,
      gift: random.chance(0.08),
      metadata: metadata(random),
    };
  }

  #write(row: RowWriter, order: Order): void {
    row.int8(order.id);
    row.uuid(this.#tenant);
    row.int8(order.customer);
    row.text(STATUSES[order.status] as string);
    row.text(CHANNELS[order.channel] as string);
    row.text(CURRENCIES[order.currency] as string);
    row.numeric(order.total, 2);
    row.numeric(Math.round(order.total * 0.19), 2);
    row.timestamptz(order.created);
    row.timestamptz(order.updated);
    row.uuid(order.ref);
    row.text(`ORD-2026-${String(order.id).padStart(10, '0')}`);
    if (order.notes === null) row.null();
    else row.text(order.notes);
    row.bool(order.gift);
    row.jsonb(order.metadata);
  }
}

export const ordersInsert: Table = {
  name: 'orders_insert',
  columns: COLUMNS,
  seed: 1,
  make: (random) => new Orders(random, false),
};
/** 60 % inserts, 35 % updates with the old image, 5 % deletes by key. */
export const ordersMixed: Table = {
  name: 'orders_mixed',
  columns: COLUMNS,
  seed: 2,
  make: (random) => new Orders(random, true),
};
