/** Timestamps, dates, and UUIDs that hold a time. */
import { type Random, uuid4, uuid7 } from '../random.ts';
import { PG_EPOCH_US } from '../row.ts';
import { type ColumnSpec, single, type Write } from './spec.ts';

const TIMESTAMPTZ = 1184;
const UUID = 2950;
const START = 820_000_000_000_000;

/** 40 a second at random, on a grid of `unit` microseconds. */
function poisson(random: Random, unit: number): Write {
  let time = START;
  return (row) => {
    time += Math.max(1, Math.round(random.exponential(25_000 / unit))) * unit;
    row.timestamptz(time);
  };
}

/** created_at is `now()` of its transaction, which commits a little later. */
const beforeCommit: ColumnSpec = {
  name: 'created_at, less its commit time',
  typeOids: [TIMESTAMPTZ],
  seed: 305,
  textGates: { 1000: 18 },
  make: (random) => {
    let commit = START;
    return {
      columns: [
        (row) => {
          commit += 100 + Math.round(random.exponential(25_000));
          row.timestamptz(commit - 100 - Math.floor(random.exponential(400)));
        },
      ],
      time: () => commit,
    };
  },
};

function sessions(random: Random): Write {
  const open = Array.from({ length: 60 }, () => ({ id: uuid4(random), left: random.between(2, 18) }));
  return (row) => {
    const at = random.below(open.length);
    let session = open[at] as (typeof open)[number];
    if (session.left === 0) {
      session = { id: uuid4(random), left: random.between(2, 18) };
      open[at] = session;
    }
    session.left--;
    row.uuid(session.id);
  };
}

export const timeColumns: readonly ColumnSpec[] = [
  single('timestamptz, every second', TIMESTAMPTZ, 301, () => {
    let time = START;
    return (row) => {
      time += 1_000_000;
      row.timestamptz(time);
    };
  }),
  single(
    'timestamptz, every second, 30 % some ms late',
    TIMESTAMPTZ,
    302,
    (random) => {
      let time = START;
      return (row) => {
        time += 1_000_000;
        row.timestamptz(time + (random.chance(0.3) ? random.between(1, 20) * 1000 : 0));
      };
    },
    { 1000: 20 },
    { 1000: 60 },
  ),
  single('timestamptz, 40 a second, ms', TIMESTAMPTZ, 303, (random) => poisson(random, 1000)),
  single(
    'timestamptz, 40 a second, us',
    TIMESTAMPTZ,
    304,
    (random) => poisson(random, 1),
    { 1000: 3.7 },
    { 1000: 13.5 },
  ),
  beforeCommit,
  single(
    'timestamptz, now() of 50-row transactions',
    TIMESTAMPTZ,
    306,
    (random) => {
      let time = START;
      let left = 0;
      return (row) => {
        if (left === 0) {
          time += Math.round(random.exponential(25_000));
          left = 50;
        }
        left--;
        row.timestamptz(time);
      };
    },
    { 1000: 120 },
  ),
  single('date, uniform of 2,500 days', 1082, 307, (random) => (row) => row.date(random.below(2500))),
  single('uuid v4', UUID, 308, (random) => (row) => row.uuid(uuid4(random))),
  single('uuid v7', UUID, 309, (random) => {
    let ms = (START + PG_EPOCH_US) / 1000;
    return (row) => {
      ms += random.exponential(25);
      row.uuid(uuid7(random, Math.floor(ms)));
    };
  }),
  single('uuid of sessions, 10 rows each', UUID, 310, sessions),
];
