export { type CdcOptions, run } from './main.ts';
