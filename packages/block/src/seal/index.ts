export type { DataKey, OpeningKeys, SealingKeys } from './data-key.ts';
export { Opener, sealed } from './opener.ts';
export { Sealer } from './sealer.ts';
