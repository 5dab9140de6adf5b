import { describe, expect, it } from 'vitest';
import { CpuMeter, type ProcessTimes, parseStat } from './cpu.ts';

const LINE =
  '4242 (a (tricky) name) S 17 4242 4242 0 -1 4194560 1 2 3 4 250 75 900 800 20 0 1 0 123456 1 2 3 4 5 6 7 8 9 0 0';

describe('parseStat', () => {
  it('finds the fields behind a name with parentheses and spaces', () => {
    expect(parseStat(LINE)).toEqual({ parent: 17, cpuSeconds: 3.25, startedAt: 1234.56 });
  });
});

describe('CpuMeter', () => {
  const world = () => {
    const times = new Map<number, ProcessTimes>();
    const set = (pid: number, cpuSeconds: number, startedAt: number) =>
      times.set(pid, { parent: 1, cpuSeconds, startedAt });
    return { times, set, ports: { times: (pid: number) => times.get(pid) ?? null, uptime: () => 1000 } };
  };

  it('counts what was used since it began', () => {
    const { set, ports } = world();
    set(1, 50, 10);
    const meter = new CpuMeter({ a: [1] }, ports);
    set(1, 53, 10);
    meter.sample({ a: [1] });
    expect(meter.seconds).toEqual({ a: 3 });
  });

  it('counts a process that began later from its start, one that was merely found later from then', () => {
    const { set, ports } = world();
    const meter = new CpuMeter({}, ports);
    set(1, 2, 1001);
    set(2, 40, 900);
    meter.sample({ a: [1, 2] });
    set(2, 41, 900);
    meter.sample({ a: [1, 2] });
    expect(meter.seconds).toEqual({ a: 3 });
  });

  it('keeps the time of a process that ended and does not confuse it with the next of the same id', () => {
    const { times, set, ports } = world();
    set(1, 0, 10);
    const meter = new CpuMeter({ a: [1], b: [] }, ports);
    set(1, 5, 10);
    meter.sample({ a: [1] });
    times.delete(1);
    meter.sample({ a: [1] });
    set(1, 1, 1500);
    meter.sample({ b: [1] });
    expect(meter.seconds).toEqual({ a: 5, b: 1 });
    expect(meter.total).toBe(6);
  });
});
