export { BlockWriter } from './block-writer.ts';
export { RAW_BYTES_MAX, RELATIONS_MAX, VERSION } from './format.ts';
export { isStreamed, peekSeal, readHeader, sealedUnder } from './header.ts';
export { COMPRESSIONS, type Compression, Packer } from './packing.ts';
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
