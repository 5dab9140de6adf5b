export { BlockWriter } from './block-writer.ts';
export {
  decodeWithProfile,
  encodeWithProfile,
  learn,
  openProfile,
  Profile,
} from './columnar/profile.ts';
export { RAW_BYTES_MAX, RELATIONS_MAX, VERSION } from './format.ts';
export { isStreamed, keyOfBlock, peekProfile, peekSeal, readHeader, sealedUnder } from './header.ts';
export { KnownRelations } from './known-relations.ts';
export {
  canBeNamed,
  type KnownProfiles,
  PROFILES_BYTES_MAX,
  type ProfileName,
} from './named-profile.ts';
export {
  COMPRESSIONS,
  type Compression,
  type KeyedScope,
  Packer,
  type Scope,
  type ScopedProfiles,
} from './packing.ts';
export { readProfileBlock, writeProfileBlock } from './profile-block.ts';
export * from './seal/index.ts';
export type {
  StreamedCommit,
  StreamedHeader,
  StreamedPart,
  StreamedRollback,
  StreamedTogether,
} from './streamed-header.ts';
export * from './types.ts';
export { type WalkOptions, walkBlock } from './walk-block.ts';
