export * from './assert.ts';
export * from './drr.ts';
export * from './errors.ts';
export * from './ids.ts';
export * from './lifecycle.ts';
export * from './lsn.ts';
export * from './node-flags.ts';
export { type Pass, type Share, Turns, type TurnsOptions } from './turns.ts';
