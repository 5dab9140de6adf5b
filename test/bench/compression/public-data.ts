/** Public JSON documents (examples of the simdjson repository), when a folder that holds them is named; they are not part of this repository. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface PublicSet {
  readonly name: string;
  /** One value a row. */
  readonly rows: readonly unknown[];
}

/** The sets found in `folder`. */
export function publicSets(folder: string): PublicSet[] {
  const read = (file: string): string | null =>
    existsSync(join(folder, file)) ? readFileSync(join(folder, file), 'utf8') : null;
  const sets: PublicSet[] = [];
  const amazon = read('amazon_cellphones.ndjson');
  if (amazon !== null) sets.push({ name: 'amazon_cellphones', rows: amazonRows(amazon) });
  const twitter = read('twitter.json');
  if (twitter !== null)
    sets.push({ name: 'twitter', rows: (JSON.parse(twitter) as { statuses: unknown[] }).statuses });
  const gsoc = read('gsoc-2018.json');
  if (gsoc !== null) sets.push({ name: 'gsoc-2018', rows: Object.values(JSON.parse(gsoc) as object) });
  const github = read('github_events.json');
  if (github !== null) sets.push({ name: 'github_events', rows: JSON.parse(github) as unknown[] });
  return sets;
}

/** The file has arrays, the first of which names the columns: objects, as a table's json column would hold them. */
function amazonRows(text: string): unknown[] {
  const [names, ...rows] = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown[]);
  return rows.map((row) => Object.fromEntries((names ?? []).map((name, i) => [String(name), row[i]])));
}
