export { busError } from './bus-error.ts';
export * from './connect.ts';
export * from './consume.ts';
export { checkDurability, type DurabilityFinding } from './durability.ts';
export * from './events.ts';
export * from './kv.ts';
export * from './lease.ts';
export { type LeaseView, watchLeases } from './lease-bucket.ts';
export * from './names.ts';
export { type Anchor, checkAnchor } from './ordered.ts';
export { holdsPlace, lastPlace, type StreamPlace } from './place.ts';
export { readProfileMessage } from './profile-message.ts';
export * from './publisher.ts';
export { type ResumeMarks, readResumeMarks, type TenantMark } from './resume.ts';
export * from './rpc.ts';
export { callPaged, paged } from './rpc-pages.ts';
export * from './storage.ts';
export {
  ensureStream,
  lastBlockSeq,
  type StreamOptions,
  type StreamState,
  stillHolds,
  streamState,
} from './stream.ts';
export { unlessAborted } from './unless-aborted.ts';
