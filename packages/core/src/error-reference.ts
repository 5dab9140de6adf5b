/** docs/reference/errors.md, from the catalogue. */
import { CATALOGUE } from './errors.ts';

const DISPOSITIONS: Readonly<Record<string, string>> = {
  retry: 'Drover tries again by itself',
  resync: 'a position can no longer be used; what is affected must be copied anew',
  park: 'one tenant stops, and the ledger says why',
  fatal: 'the call or the process ends',
  cancelled: 'a shutdown; never logged as an error',
};

export function renderErrorReference(): string {
  const out = [
    '# Errors',
    '',
    'Made from the catalogue in `packages/core/src/errors.ts` by `node packages/core/src/write-error-reference.ts`.',
    '',
    ...Object.entries(DISPOSITIONS).map(([name, text]) => `* *${name}*: ${text}.`),
  ];
  let area = '';
  for (const [code, { disposition, doc }] of Object.entries(CATALOGUE)) {
    const own = code.split('.')[0] ?? '';
    if (own !== area) out.push('', `## ${own}`, '');
    area = own;
    out.push(`* \`${code}\` (*${disposition}*): ${doc}`);
  }
  return `${out.join('\n')}\n`;
}
