/** The inverse of `strings/write.ts`: columns of bytes from their streams. */
import { corrupt } from '../../header.ts';
import { decodeNear } from '../ints.ts';
import type { StringCodec } from '../registry.ts';
import { fixedSlices, type Slices } from '../slices.ts';
import type { StreamSource } from '../streams.ts';
import { DEPTH_MAX, TextCode } from './codes.ts';
import { readPlain, readTransposed } from './plain.ts';
import { printUuids, readUuids } from './uuid.ts';

/** @throws DroverError `block.corrupt` */
export function readStrings(
  codecs: readonly StringCodec[],
  source: StreamSource,
  count: number,
  depth: number,
): Slices {
  if (count === 0) return fixedSlices(Buffer.alloc(0), 0, 0, 0);
  source.spend(count * 8);
  const code = source.numbers.u8();
  switch (code) {
    case TextCode.plain:
      return readPlain(source, source.text, count);
    case TextCode.raw:
      return readPlain(source, source.random, count);
    case TextCode.constant: {
      const length = source.numbers.varint();
      const start = source.text.take(length);
      const starts = new Uint32Array(count).fill(start);
      const ends = new Uint32Array(count).fill(start + length);
      return { bytes: source.text.bytes, starts, ends, count };
    }
    case TextCode.transposed: {
      const { bytes, width } = readTransposed(source, count);
      return fixedSlices(bytes, 0, width, count);
    }
    case TextCode.uuid:
      return readUuids(source, count);
    case TextCode.uuidText:
    case TextCode.dict:
      if (depth >= DEPTH_MAX) throw corrupt('text is nested too deeply');
      return code === TextCode.dict
        ? readDict(codecs, source, count)
        : printUuids(readStrings([], source, count, depth + 1), source);
    default: {
      const codec = codecs.find((known) => known.id === code);
      if (codec === undefined) throw corrupt('text is coded in an unknown way', { code });
      return codec.decode(source, count);
    }
  }
}

function readDict(codecs: readonly StringCodec[], source: StreamSource, count: number): Slices {
  const distinct = source.numbers.varint();
  if (distinct < 1 || distinct > count) throw corrupt('a dictionary is larger than its column');
  const entries = readStrings(codecs, source, distinct, DEPTH_MAX);
  const ids = decodeNear(source, count);
  const starts = new Uint32Array(count);
  const ends = new Uint32Array(count);
  for (let i = 0; i < count; i++) {
    const id = ids[i] as number;
    if (!(id >= 0 && id < distinct)) throw corrupt('a value refers outside its dictionary', { id, distinct });
    starts[i] = entries.starts[id] as number;
    ends[i] = entries.ends[id] as number;
  }
  return { bytes: entries.bytes, starts, ends, count };
}
