import { describe, expect, it } from 'vitest';
import { scramVerifier, verifierMatches } from './scram.ts';

describe('SCRAM verifiers', () => {
  const salt = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64');
  // Salt and password of RFC 7677's example; the keys follow from its exchange.
  const pencil =
    'SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=';

  it('are those of the RFC', () => {
    expect(scramVerifier('pencil', salt)).toBe(pencil);
  });

  it('match their password only', () => {
    expect(verifierMatches(pencil, 'pencil')).toBe(true);
    expect(verifierMatches(pencil, 'Pencil')).toBe(false);
    expect(verifierMatches(scramVerifier('a'), 'a')).toBe(true);
    for (const stored of [
      null,
      '',
      'md5aabb',
      'SCRAM-SHA-256$',
      `${pencil}x`,
      pencil.replace('4096', '4097'),
    ]) {
      expect(verifierMatches(stored, 'pencil'), String(stored)).toBe(false);
    }
  });
});
