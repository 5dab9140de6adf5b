export { type ApplyOptions, run } from './main.ts';
