/**
 * Does every value of one type fit into another, unchanged? A column is made wider before the rows of the transaction that does it,
 * narrower behind them. Pure; types as format_type prints them.
 */
const ORDER: readonly (readonly string[])[] = [
  ['smallint', 'integer', 'bigint', 'numeric'],
  ['real', 'double precision'],
];

const DIGITS: Readonly<Record<string, number>> = { smallint: 5, integer: 10, bigint: 19 };

export function widens(from: string, to: string): boolean {
  if (from === to) return true;
  for (const chain of ORDER) {
    const [a, b] = [chain.indexOf(from), chain.indexOf(to)];
    if (a >= 0 && b > a) return true;
  }
  const [x, y] = [split(from), split(to)];
  const text = (name: string): boolean => name === 'character varying' || name === 'text';
  if (text(x.name) && text(y.name)) return y.args.length === 0 || (x.args[0] ?? Infinity) <= (y.args[0] ?? 0);
  const digits = DIGITS[x.name];
  if (digits !== undefined && y.name === 'numeric') return (y.args[0] ?? 0) - (y.args[1] ?? 0) >= digits;
  if (x.name === 'numeric' && y.name === 'numeric') {
    if (y.args.length === 0) return true;
    if (x.args.length === 0) return false;
    const [xp = 0, xs = 0] = x.args;
    const [yp = 0, ys = 0] = y.args;
    return ys >= xs && yp - ys >= xp - xs;
  }
  if (x.name === y.name && (x.name.startsWith('timestamp') || x.name.startsWith('time'))) {
    return (y.args[0] ?? 6) >= (x.args[0] ?? 6);
  }
  return x.name === 'date' && y.name === 'timestamp without time zone';
}

/** `character varying(10)`, `timestamp(3) without time zone`. */
function split(type: string): { name: string; args: number[] } {
  const found = /^(.*?)\(([\d,]+)\)(.*)$/.exec(type);
  if (found === null) return { name: type, args: [] };
  return { name: `${found[1]}${found[3]}`, args: (found[2] ?? '').split(',').map(Number) };
}
