/** Makes the codecs of text and documents known to the encoding of columns. Their ids are part of the format. */
import { decodeInts, encodeInts } from '../ints.ts';
import { jsonCodec } from '../json.ts';
import { documentCodecs, registerCodec, type StringCodec, stringCodecs } from '../registry.ts';
import { decodeStrings, encodeStrings } from '../strings.ts';
import { templateCodec } from '../template.ts';
import type { Columns } from './codec.ts';
import { frontCodec } from './front.ts';
import { linesCodec } from './lines.ts';
import { momentCodec } from './moment.ts';

export const TextCodecId = { template: 16, json: 17, moment: 18, front: 19, lines: 20 } as const;

const columns: Columns = { encodeInts, decodeInts, encodeStrings, decodeStrings };
const ofText: readonly StringCodec[] = [
  templateCodec(TextCodecId.template, columns),
  momentCodec(TextCodecId.moment, columns),
  frontCodec(TextCodecId.front, columns),
  linesCodec(TextCodecId.lines),
];
const ofDocuments: readonly StringCodec[] = [jsonCodec(TextCodecId.json, columns)];

/** To be called before the first column is encoded or decoded. Codecs that are known already stay; later calls do nothing. */
export function registerTextCodecs(): void {
  for (const codec of ofText) if (!known(codec.id)) registerCodec(stringCodecs, codec);
  for (const codec of ofDocuments) if (!known(codec.id)) registerCodec(documentCodecs, codec);
}

function known(id: number): boolean {
  return [...stringCodecs, ...documentCodecs].some((codec) => codec.id === id);
}
