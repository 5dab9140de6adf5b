// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the placeholders of drover.toml look like those of template strings
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OPTIONS, type Option } from './options.ts';
import { parseConfig } from './parse.ts';
import { renderConfigTemplate } from './template.ts';
import { expandEnv, formatDuration, formatSize, nearest, parseDuration, parseSize } from './values.ts';

// DEL among them: TOML wants it escaped, JSON does not.
const text = fc
  .string({
    unit: fc.oneof(
      fc.string({ unit: 'grapheme', minLength: 1, maxLength: 1 }),
      fc.constantFrom('\x7f', '\x01', '"', '\\', '\n'),
    ),
    maxLength: 40,
  })
  .filter((s) => !s.includes('${') && !s.includes('\0') && s.isWellFormed());
const word = fc.stringMatching(/^[a-z][a-z0-9_]{0,20}$/);

function arbitraryOf(o: Option): fc.Arbitrary<unknown> {
  switch (o.type) {
    case 'text':
      return o.key.endsWith('url')
        ? word.map((w) => `${o.key === 'url' ? 'nats' : 'http'}://${w}:4222`)
        : o.section === 'tagging'
          ? word
          : text;
    case 'secret':
      return text.map((s) => s.padEnd(32, 'x'));
    case 'integer':
      return fc.integer({ min: o.min ?? 0, max: o.max ?? 1_000_000 });
    case 'boolean':
      return fc.boolean();
    case 'duration':
      return fc.integer({ min: o.min ?? 0, max: o.max ?? 10 ** 10 });
    case 'size':
      return fc.integer({ min: o.key === 'in_flight_bytes' ? 2 ** 25 : (o.min ?? 0), max: o.max ?? 2 ** 45 });
    case 'choice':
      return fc.constantFrom(...(o.choices ?? []));
    case 'list':
      return fc.uniqueArray(
        word.map((w) => `${o.key}.${w}`),
        { maxLength: 4 },
      );
    case 'map':
      return fc
        .uniqueArray(
          fc.tuple(
            word.map((w) => `map.${w}`),
            word,
          ),
          { selector: ([k]) => k, maxLength: 4 },
        )
        .map(Object.fromEntries);
  }
}

const sections = fc.record(
  Object.fromEntries(
    [...new Set(OPTIONS.map((o) => o.section))]
      .filter((s) => s !== 'clusters' && s !== 'tiers')
      .map((section) => {
        const options = OPTIONS.filter((o) => o.section === section);
        const record = fc.record(Object.fromEntries(options.map((o) => [o.key, arbitraryOf(o)])));
        return [section, section === 'control' ? record.map((r) => ({ ...r, port: 0 })) : record];
      }),
  ),
);

describe('the template', () => {
  it('reads back as the values it was made from', () => {
    fc.assert(
      fc.property(sections, fc.integer({ min: 1, max: 1000 }), (given, weight) => {
        const written = renderConfigTemplate({
          sections: given,
          clusters: [{ name: 'east', host: 'h', databases: ['d"\\x'] }],
          tiers: { gold: { weight } },
        });
        const config = parseConfig(written, 'x', {}) as unknown as Record<string, Record<string, unknown>>;
        for (const o of OPTIONS) {
          if (o.section === 'clusters' || o.section === 'tiers') continue;
          expect(config[o.section]?.[o.field], `${o.section}.${o.key}`).toEqual(
            (given[o.section] as Record<string, unknown>)[o.key],
          );
        }
        expect(config['tiers']?.['gold']).toEqual({ weight, replicas: 1 });
      }),
      { numRuns: 60 },
    );
  });
});

describe('values', () => {
  it('read back as they are written', () => {
    fc.assert(
      fc.property(
        fc.maxSafeNat(),
        (n) => parseDuration(formatDuration(n)) === n && parseSize(formatSize(n)) === n,
      ),
    );
    expect(['90000ms', '1.5m', '90s'].map(parseDuration)).toEqual([90_000, 90_000, 90_000]);
    expect(formatDuration(90_000)).toBe('90s');
    expect(formatSize(0)).toBe('0B');
  });

  it('never throw, whatever is given', () => {
    fc.assert(fc.property(fc.anything(), (v) => void [parseDuration(v), parseSize(v)]));
    fc.assert(
      fc.property(fc.string(), (junk) => {
        try {
          parseConfig(junk, 'x', {});
        } catch (error) {
          expect(error).toMatchObject({ code: 'config.invalid' });
        }
      }),
    );
  });

  it('come from the environment only where they are named', () => {
    fc.assert(fc.property(text, (t) => expandEnv(t, {}, () => expect.fail()) === t));
    expect(expandEnv('$${A} ${A}$A', { A: '${B}' }, () => expect.fail())).toBe('${A} ${B}$A');
  });

  it('that are nearly right find their right form', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...OPTIONS.map((o) => o.key).filter((k) => k.length > 5)),
        fc.nat(),
        (key, at) => {
          const i = at % key.length;
          return nearest(key.slice(0, i) + key.slice(i + 1), [key]) === key;
        },
      ),
    );
  });
});
