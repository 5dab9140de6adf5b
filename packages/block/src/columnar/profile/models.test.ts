/** Values at the edges of each model: of its form and exact, or left to another model and exact. */
import { describe, expect, it } from 'vitest';
import { ByteReader, ByteWriter } from '../bytes.ts';
import { type CodeSink, Context, type FormModel, Out } from './context.ts';
import { FixedForm, FloatForm, NumericForm, UuidForm } from './forms.ts';
import { Base, IntModel, SYMBOLS } from './int-model.ts';
import { RangeDecoder, RangeEncoder } from './range-coder.ts';
import { Table } from './table.ts';
import { DecimalForm } from './template-model.ts';
import { keyOf, Tokens } from './tokens.ts';

const flat = Table.of(new Float64Array(SYMBOLS).fill(1));
const ints = (shape: Partial<IntModel['shape']> = {}) =>
  new IntModel({ id: 0, base: Base.constant, constant: 0, unit: 1, ...shape }, flat, flat);

function sinkOf(): CodeSink {
  return { range: new RangeEncoder(), residue: new ByteWriter(), context: new Context(2, 1) };
}

function sourceOf(sink: CodeSink, length: number) {
  return {
    range: new RangeDecoder(sink.range.finish(), 0),
    residue: new ByteReader(Buffer.from(sink.residue.written)),
    context: new Context(2, 1),
    out: new Out(length),
  };
}

/** Whether the form takes the value; if so it has come back. */
function takes(form: FormModel, value: Buffer): boolean {
  const around = Buffer.concat([Buffer.from('9"'), value, Buffer.from('"9')]);
  if (!form.parse(around, 2, 2 + value.length)) return false;
  const sink = sinkOf();
  form.put(sink);
  const source = sourceOf(sink, value.length);
  form.get(source);
  expect(source.out.bytes.toString('hex')).toBe(value.toString('hex'));
  return true;
}

describe('whole numbers', () => {
  const edges = [
    0,
    1,
    -1,
    7,
    -7,
    10,
    -10,
    2 ** 31,
    -(2 ** 31),
    Number.MAX_SAFE_INTEGER,
    Number.MIN_SAFE_INTEGER,
  ];
  it.each([
    ['near', {}],
    ['from a constant', { constant: 2 ** 52 }],
    ['from a negative one', { constant: Number.MIN_SAFE_INTEGER }],
    ['in tens', { unit: 10 }],
    ['in tens from three', { unit: 10, constant: 3 }],
    ['after another', { base: Base.previous }],
    ['less the time', { base: Base.time }],
    ['less another column', { base: Base.column + 1 }],
    ['less a column that is not there', { base: Base.column + 9 }],
  ])('%s', (_name, shape) => {
    const model = ints(shape);
    const sink = sinkOf();
    sink.context.ints[1] = -5;
    for (const value of edges) model.put(sink, value);
    const source = sourceOf(sink, 0);
    source.context.ints[1] = -5;
    for (const value of edges) expect(model.get(source)).toBe(value);
  });
});

describe('forms', () => {
  it.each([1, 2, 4, 8])('whole numbers of %i bytes', (width) => {
    const form = new FixedForm(width, ints());
    const small = Buffer.alloc(width);
    small[width - 1] = 200;
    expect(takes(form, small)).toBe(true);
    expect(takes(form, Buffer.alloc(width, 0xff))).toBe(true);
    expect(takes(form, Buffer.alloc(width - 1))).toBe(false);
    const least = Buffer.alloc(width);
    least[0] = 0x80;
    expect(takes(form, least)).toBe(width < 8);
  });

  it.each([
    [1.5, true],
    [-1.25, true],
    [0, true],
    [-0, false],
    [-0.001, false],
    [0.1 + 0.2, false],
    [1e22, false],
    [Number.NaN, false],
    [Number.POSITIVE_INFINITY, false],
    [Number.MIN_VALUE, false],
  ])('the float %d', (value, taken) => {
    const wide = Buffer.alloc(8);
    wide.writeDoubleBE(value);
    expect(takes(new FloatForm(8, 2, ints()), wide)).toBe(taken);
    const narrow = Buffer.alloc(4);
    narrow.writeFloatBE(value);
    takes(new FloatForm(4, 2, ints()), narrow);
  });

  it.each([
    ['0001 0000 0000 0002 0001', true],
    ['0000 0000 0000 0002', true],
    ['0000 ffff 0000 0002', false],
    ['0001 ffff 4000 0002 0fa0', true],
    ['0001 ffff 0000 0002 0001', false],
    ['0002 0000 0000 0002 0000 0064', false],
    ['0001 0000 0000 0000 0001', false],
    ['0000 0000 4000 0002', false],
    ['0000 0000 c000 0000', false],
    ['0001 00ff 0000 0002 0001', false],
    ['0001 0000 0000 0002 270f', true],
    ['0001 0000 0000 0002 2710', false],
    ['0000', false],
  ])('the numeric %s', (hex, taken) => {
    expect(takes(new NumericForm(2, ints()), Buffer.from(hex.replaceAll(' ', ''), 'hex'))).toBe(taken);
  });

  it.each([
    ['11111111-1111-4111-8111-111111111111', true, false],
    ['ffffffff-ffff-4fff-bfff-ffffffffffff', true, false],
    ['01890a5d-ac96-774b-bcce-b302099a8057', false, true],
    ['11111111-1111-4111-c111-111111111111', false, false],
    ['00000000-0000-0000-0000-000000000000', false, false],
    ['ffffffff-ffff-ffff-ffff-ffffffffffff', false, false],
  ])('the uuid %s', (text, random, timed) => {
    const value = Buffer.from(text.replaceAll('-', ''), 'hex');
    expect(takes(new UuidForm(null), value)).toBe(random);
    expect(takes(new UuidForm(ints()), value)).toBe(timed);
  });

  it.each([
    ['0', true, false, false],
    ['7', true, false, false],
    ['-7', true, false, false],
    ['-0', false, false, false],
    ['007', false, true, false],
    ['123', true, true, false],
    ['1234', true, true, false],
    ['1.50', false, false, true],
    ['0.05', false, false, true],
    ['-0.50', false, false, true],
    ['-0.00', false, false, false],
    ['.50', false, false, false],
    ['01.50', false, false, false],
    ['1.5', false, false, false],
    ['1e5', false, false, false],
    [' 1', false, false, false],
    ['', false, false, false],
    ['0x10', false, false, false],
    ['9007199254740993', false, false, false],
    ['٣', false, false, false],
  ])('the decimal "%s"', (text, natural, padded, places) => {
    const value = Buffer.from(text);
    expect(takes(new DecimalForm(0, 0, ints()), value)).toBe(natural);
    expect(takes(new DecimalForm(3, 0, ints()), value)).toBe(padded);
    expect(takes(new DecimalForm(0, 2, ints()), value)).toBe(places);
  });
});

describe('tokens', () => {
  const parts = (text: string): string[] => {
    const bytes = Buffer.from(text);
    const tokens = new Tokens();
    expect(tokens.readDocument(bytes, 0, bytes.length)).toBe(true);
    return Array.from({ length: tokens.count }, (_, i) =>
      bytes.toString('utf8', tokens.starts[i], tokens.ends[i]),
    );
  };

  it('of documents are values, not keys', () => {
    expect(parts('{"a": "x", "b" : -1.5e3, "c": [true, null, "\\"]{"]}')).toEqual([
      'x',
      '-1.5e3',
      'true',
      'null',
      '\\"]{',
    ]);
    expect(parts('nonsense 12')).toEqual(['nonsense', '12']);
  });

  it('are none when a string does not end or there are too many', () => {
    const tokens = new Tokens();
    for (const text of ['{"a', '"\\"', `[${'1,'.repeat(65)}]`]) {
      expect(tokens.readDocument(Buffer.from(text), 0, text.length)).toBe(false);
    }
  });

  it('keys of pieces differ when pieces do', () => {
    const key = (...pieces: string[]) => keyOf(pieces.map((piece) => Buffer.from(piece)));
    expect(key('a', 'b')).not.toBe(key('ab', ''));
    expect(key('Ā')).not.toBe(key('', ''));
  });
});
