export * from './connections.ts';
export * from './derive.ts';
export * from './load.ts';
export { OPTIONS, SECTIONS } from './options.ts';
export { configFromTable, parseConfig } from './parse.ts';
export * from './ports.ts';
export * from './run-options.ts';
export * from './template.ts';
export * from './types.ts';
