/** 200 devices, read one after the other. */
import type { Table } from '../stream.ts';

const DEVICES = 200;
const STRIDE_US = 5000;

export const sensors: Table = {
  name: 'sensors',
  columns: [
    ['device_id', 23],
    ['ts', 1184],
    ['temperature', 701],
    ['humidity', 701],
    ['pressure', 701],
    ['voltage', 701],
    ['noise', 700],
    ['ok', 16],
  ],
  seed: 4,
  make: (random) => {
    const walks = Array.from({ length: DEVICES }, () => [
      random.between(1500, 2500),
      random.between(3000, 6000),
      random.between(98_000, 103_000),
    ]);
    let at = 0;
    let time = 820_000_000_000_000;
    return {
      transaction: () => ({ rows: 20, afterUs: 20 * STRIDE_US }),
      row: (sink) => {
        const device = at++ % DEVICES;
        time += STRIDE_US;
        const walk = walks[device] as number[];
        walk[0] = (walk[0] as number) + (random.chance(0.6) ? 0 : random.between(-3, 3));
        walk[1] = (walk[1] as number) + (random.chance(0.7) ? 0 : random.between(-5, 5));
        walk[2] = (walk[2] as number) + (random.chance(0.6) ? 0 : random.between(-4, 4));
        sink.insert((row) => {
          row.int4(1000 + device);
          row.timestamptz(time + (random.chance(0.3) ? random.below(800) : 0));
          row.float8((walk[0] as number) / 100);
          row.float8((walk[1] as number) / 100);
          row.float8((walk[2] as number) / 100);
          row.float8(3.3 + random.normal() * 0.01);
          row.float4(random.normal());
          row.bool(!random.chance(0.01));
        });
      },
    };
  },
};
