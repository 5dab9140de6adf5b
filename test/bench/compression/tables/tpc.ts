/** TPC-H lineitem (distributions of specification 4.2.3) and the two TPC-C tables that make most of the WAL. */
import { ALNUM, Random } from '../random.ts';
import type { Table } from '../stream.ts';
import { WORDS } from './words.ts';

const INSTRUCTIONS = ['DELIVER IN PERSON', 'COLLECT COD', 'NONE', 'TAKE BACK RETURN'].map((s) =>
  s.padEnd(25),
);
const MODES = ['REG AIR', 'AIR', 'RAIL', 'SHIP', 'TRUCK', 'MAIL', 'FOB'].map((s) => s.padEnd(10));
const PARTS = 200_000;
const SUPPLIERS = 10_000;
/** 1992-01-01 and 1995-06-17 in days since 2000-01-01. */
const START = -2922;
const CURRENT = -1659;

function comment(random: Random): string {
  const length = random.between(10, 43);
  let out = '';
  while (out.length < length) out += `${random.pick(WORDS)} `;
  return out.slice(0, length);
}

export const lineitem: Table = {
  name: 'lineitem',
  columns: [
    ['l_orderkey', 20],
    ['l_partkey', 20],
    ['l_suppkey', 20],
    ['l_linenumber', 23],
    ['l_quantity', 1700],
    ['l_extendedprice', 1700],
    ['l_discount', 1700],
    ['l_tax', 1700],
    ['l_returnflag', 1042],
    ['l_linestatus', 1042],
    ['l_shipdate', 1082],
    ['l_commitdate', 1082],
    ['l_receiptdate', 1082],
    ['l_shipinstruct', 1042],
    ['l_shipmode', 1042],
    ['l_comment', 1043],
  ],
  seed: 5,
  make: (random) => {
    let order = 0;
    let line = 0;
    let ordered = 0;
    return {
      transaction: () => {
        order++;
        line = 0;
        ordered = START + random.below(2406 - 151);
        return { rows: random.between(1, 7), afterUs: random.between(500, 3000) };
      },
      row: (sink) => {
        const part = 1 + random.below(PARTS);
        const way = random.below(4);
        const supplier =
          1 + ((part + way * (SUPPLIERS / 4 + Math.floor((part - 1) / SUPPLIERS))) % SUPPLIERS);
        const quantity = random.between(1, 50);
        const retail = 90_000 + (Math.floor(part / 10) % 20_001) + 100 * (part % 1000);
        const shipped = ordered + random.between(1, 121);
        const received = shipped + random.between(1, 30);
        line++;
        sink.insert((row) => {
          row.int8(Math.floor(order / 8) * 32 + (order % 8));
          row.int8(part);
          row.int8(supplier);
          row.int4(line);
          row.numeric(quantity * 100, 2);
          row.numeric(quantity * retail, 2);
          row.numeric(random.below(11), 2);
          row.numeric(random.below(9), 2);
          row.text(received <= CURRENT ? random.pick(['R', 'A']) : 'N');
          row.text(shipped > CURRENT ? 'O' : 'F');
          row.date(shipped);
          row.date(ordered + random.between(30, 90));
          row.date(received);
          row.text(random.pick(INSTRUCTIONS));
          row.text(random.pick(MODES));
          row.text(comment(random));
        });
      },
    };
  },
};

/** NURand(A, 1, limit) of TPC-C 2.1.6 with constant 0. */
function nonUniform(random: Random, a: number, limit: number): number {
  return ((random.between(0, a) | random.between(1, limit)) % limit) + 1;
}

const ITEMS = 100_000;

export const tpccStock: Table = {
  name: 'tpcc_stock',
  columns: [
    ['s_i_id', 23],
    ['s_w_id', 23],
    ['s_quantity', 23],
    ...Array.from({ length: 10 }, (_, i) => [`s_dist_${String(i + 1).padStart(2, '0')}`, 1042] as const),
    ['s_ytd', 20],
    ['s_order_cnt', 23],
    ['s_remote_cnt', 23],
    ['s_data', 1043],
  ],
  seed: 6,
  make: (random) => {
    interface Stock {
      quantity: number;
      readonly dist: string[];
      ytd: number;
      orders: number;
      remote: number;
      readonly data: string;
    }
    const stocks = new Map<number, Stock>();
    return {
      transaction: () => ({ rows: random.between(5, 15), afterUs: Math.ceil(random.exponential(4000)) }),
      row: (sink) => {
        const item = nonUniform(random, 8191, ITEMS);
        let stock = stocks.get(item);
        if (stock === undefined) {
          stock = {
            quantity: random.between(10, 100),
            dist: Array.from({ length: 10 }, () => random.text(24, ALNUM)),
            ytd: random.below(200),
            orders: random.below(40),
            remote: random.below(3),
            data: random.text(random.between(26, 50), ALNUM),
          };
          stocks.set(item, stock);
        }
        const old = { ...stock };
        const ordered = random.between(1, 10);
        stock.quantity += stock.quantity >= ordered + 10 ? -ordered : 91 - ordered;
        stock.ytd += ordered;
        stock.orders++;
        if (random.chance(0.01)) stock.remote++;
        const write = (from: Stock) => (row: import('../row.ts').RowWriter) => {
          row.int4(item);
          row.int4(1);
          row.int4(from.quantity);
          for (const dist of from.dist) row.text(dist);
          row.int8(from.ytd);
          row.int4(from.orders);
          row.int4(from.remote);
          row.text(from.data);
        };
        sink.update(write(old), write(stock));
      },
    };
  },
};

/** S_DIST_xx of the item's stock: random letters, the same whenever the item is ordered in the district. */
function districtInfo(item: number, district: number): string {
  return new Random(item * 10 + district).text(24, ALNUM);
}

export const tpccOrderLine: Table = {
  name: 'tpcc_order_line',
  columns: [
    ['ol_o_id', 23],
    ['ol_d_id', 23],
    ['ol_w_id', 23],
    ['ol_number', 23],
    ['ol_i_id', 23],
    ['ol_supply_w_id', 23],
    ['ol_delivery_d', 1114],
    ['ol_quantity', 23],
    ['ol_amount', 1700],
    ['ol_dist_info', 1042],
  ],
  seed: 7,
  make: (random) => {
    const next = Array.from({ length: 10 }, () => 3001);
    let district = 0;
    let number = 0;
    return {
      transaction: () => {
        district = random.below(10);
        next[district] = (next[district] as number) + 1;
        number = 0;
        return { rows: random.between(5, 15), afterUs: Math.ceil(random.exponential(4000)) };
      },
      row: (sink) => {
        number++;
        const item = nonUniform(random, 8191, ITEMS);
        const quantity = random.between(1, 10);
        sink.insert((row) => {
          row.int4(next[district] as number);
          row.int4(district + 1);
          row.int4(1);
          row.int4(number);
          row.int4(item);
          row.int4(random.chance(0.99) ? 1 : 2);
          row.null();
          row.int4(quantity);
          row.numeric(quantity * (100 + ((item * 7919) % 9900)), 2);
          row.text(districtInfo(item, district));
        });
      },
    };
  },
};
