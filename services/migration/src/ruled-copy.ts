/**
 * Rows of COPY (text format, manual: COPY, File Formats) through the rules, as they pass. A row ends with a newline, which no value holds
 * unescaped.
 */
import { Transform, type TransformCallback } from 'node:stream';
import { TextRows } from '@drover/transform';
import type { RuledTable } from './ruled.ts';

const NEWLINE = 0x0a;

export function ruledCopy({ plans }: Pick<RuledTable, 'plans'>): Transform {
  const rows = new TextRows(plans);
  let open: Buffer[] = [];
  const lines = (chunk: Buffer): string => {
    let out = '';
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      const line = Buffer.concat([...open, chunk.subarray(start, end)]).toString('utf8');
      open = [];
      start = end + 1;
      const row = rows.row(fieldsOf(line));
      if (row !== null) out += `${row.map(fieldText).join('\t')}\n`;
    }
    if (start < chunk.length) open.push(Buffer.from(chunk.subarray(start)));
    return out;
  };
  return new Transform({
    transform(chunk: Buffer, _encoding, done: TransformCallback) {
      try {
        done(null, lines(chunk));
      } catch (error) {
        done(error as Error);
      }
    },
    flush(done: TransformCallback) {
      done(open.length === 0 ? null : new TypeError('COPY ended within a row'));
    },
  });
}

const UNESCAPED: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' };
const ESCAPED: Readonly<Record<string, string>> = {
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
  '\\': '\\\\',
};

/** COPY TO writes no other escapes than these. A table without columns has one empty line for a row. */
export function fieldsOf(line: string): (string | null)[] {
  return line
    .split('\t')
    .map((field) => (field === '\\N' ? null : field.replace(/\\(.)/gs, (_, c: string) => UNESCAPED[c] ?? c)));
}

export function fieldText(value: string | null): string {
  return value === null ? '\\N' : value.replace(/[\b\f\n\r\t\v\\]/g, (c) => ESCAPED[c] ?? c);
}
