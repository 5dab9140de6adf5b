export { type FailoverOptions, run } from './main.ts';
