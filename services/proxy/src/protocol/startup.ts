/**
 * The first packet of a connection. Pure. It has no type byte: length, then a code that is a version or a request.
 */
import { FramingError } from './assembler.ts';

/** PostgreSQL's own limit (MAX_STARTUP_PACKET_LENGTH, pqcomm.h). */
export const STARTUP_BYTES_MAX = 10_000;

export type FirstPacket =
  | { readonly kind: 'ssl' | 'gss' }
  | { readonly kind: 'cancel'; readonly pid: number; readonly secret: Buffer }
  | { readonly kind: 'unsupported'; readonly major: number; readonly minor: number }
  | {
      readonly kind: 'startup';
      readonly minor: number;
      readonly parameters: ReadonlyMap<string, string>;
      /** `_pq_.` options: none is understood, all are named in the negotiation. */
      readonly protocolOptions: readonly string[];
    };

/** @returns the packet and its length, or null when more bytes are needed. @throws FramingError */
export function readFirstPacket(bytes: Buffer): { packet: FirstPacket; length: number } | null {
  if (bytes.length < 4) return null;
  const length = bytes.readUInt32BE(0);
  if (length < 8 || length > STARTUP_BYTES_MAX) throw new FramingError('invalid length of startup packet');
  if (bytes.length < length) return null;
  const code = bytes.readUInt32BE(4);
  const major = code >>> 16;
  const minor = code & 0xffff;
  if (major === 1234) {
    if (minor === 5679 && length === 8) return { packet: { kind: 'ssl' }, length };
    if (minor === 5680 && length === 8) return { packet: { kind: 'gss' }, length };
    if (minor === 5678 && length >= 16 && length <= 268) {
      const packet: FirstPacket = {
        kind: 'cancel',
        pid: bytes.readInt32BE(8),
        secret: Buffer.from(bytes.subarray(12, length)),
      };
      return { packet, length };
    }
    throw new FramingError('invalid request code');
  }
  if (major !== 3) return { packet: { kind: 'unsupported', major, minor }, length };
  const parameters = new Map<string, string>();
  const protocolOptions: string[] = [];
  let at = 8;
  for (;;) {
    const nameEnd = bytes.indexOf(0, at);
    if (nameEnd === -1 || nameEnd >= length) throw new FramingError('startup packet without terminator');
    if (nameEnd === at) {
      if (nameEnd !== length - 1) throw new FramingError('bytes after the startup packet');
      break;
    }
    const valueEnd = bytes.indexOf(0, nameEnd + 1);
    if (valueEnd === -1 || valueEnd >= length) throw new FramingError('startup parameter without value');
    const name = bytes.toString('utf8', at, nameEnd);
    if (name.startsWith('_pq_.')) protocolOptions.push(name);
    else parameters.set(name, bytes.toString('utf8', nameEnd + 1, valueEnd));
    at = valueEnd + 1;
  }
  return { packet: { kind: 'startup', minor, parameters, protocolOptions }, length };
}

/**
 * Splits the `options` startup parameter into settings: `-c name=value`, `-cname=value`, `--name=value`; blanks are escaped by a
 * backslash (pg_split_opts, postinit.c). @returns null when there is anything else in it.
 */
export function readOptions(options: string): [string, string][] | null {
  const words: string[] = [];
  for (const [word] of options.matchAll(/(?:\\.|[^\s\\])+/gs)) words.push(word.replace(/\\(.)/gs, '$1'));
  const settings: [string, string][] = [];
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? '';
    let body: string;
    if (word === '-c') body = words[++i] ?? '';
    else if (word.startsWith('-c') || word.startsWith('--')) body = word.slice(2);
    else return null;
    const equals = body.indexOf('=');
    if (equals < 1) return null;
    settings.push([body.slice(0, equals).replaceAll('-', '_'), body.slice(equals + 1)]);
  }
  return settings;
}
