/** Why a change stops tenants, and what to do, in a sentence. Pure. */
import type { DdlMessage, TableChange, Unknown } from './message.ts';

export function explain(unknown: readonly Unknown[], change: TableChange, message: DdlMessage): string {
  const shape = change.after ?? change.before;
  const why = {
    default: 'rows that were there got a value each that only the source knows',
    rows: 'it came with rows that are not in the stream',
    using: 'rows were converted by an expression (USING)',
    cast: 'rows were converted in a way that depends on the session',
    class: 'nothing says any more whose rows it holds, so it is not captured',
  }[unknown[0] ?? 'using'];
  const what = `${message.tag} on ${shape?.schema}.${shape?.name}: ${why}`;
  const advice =
    unknown[0] === 'class'
      ? 'name it under [tagging], run `drover setup`, and copy its tenants anew'
      : unknown.some((u) => u === 'using' || u === 'cast')
        ? `run the same statement here: ${message.command.slice(0, 1000)}`
        : '';
  return advice === '' ? what : `${what}; ${advice}`;
}
