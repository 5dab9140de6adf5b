import { Random } from '../random.ts';
import { type Table, TableStream } from '../stream.ts';
import { events } from './events.ts';
import { ordersInsert, ordersMixed } from './orders.ts';
import { sensors } from './sensors.ts';
import { lineitem, tpccOrderLine, tpccStock } from './tpc.ts';
import { users } from './users.ts';

/** The eight tables of the averages. */
export const TABLES: readonly Table[] = [
  ordersInsert,
  ordersMixed,
  events,
  sensors,
  lineitem,
  tpccStock,
  tpccOrderLine,
  users,
];

export function open(table: Table): TableStream {
  return new TableStream(table, new Random(table.seed));
}
