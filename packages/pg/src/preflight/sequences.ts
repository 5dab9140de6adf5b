/** Whether a switch-over may move the sequences on that feed columns: without it a tenant would be given numbers it has already. */
import type { Queryable } from '../schema/queryable.ts';
import { immovableSequences, planSequenceCarriers } from '../setup/sequences.ts';
import { type Finding, finding, ok } from './finding.ts';

export async function checkSequences(client: Queryable): Promise<Finding[]> {
  const plan = await planSequenceCarriers(client);
  if (plan.length > 0) {
    const why =
      'the functions that move sequences on at a switch-over are missing, of an older release, or belong to a role that may not; run drover setup';
    return [finding('error', 'privilege_missing', 'sequences', why, plan)];
  }
  const immovable = await immovableSequences(client);
  if (immovable.length === 0) return [ok('sequences', 'sequences', 'can be moved on at a switch-over')];
  return immovable.map(({ name, owner, by, sql }) =>
    finding(
      'error',
      'sequence_immovable',
      `sequence ${name}`,
      `it belongs to ${owner}, whose rights ${by}, who ran drover setup, does not have: no switch-over could move it on. Run drover setup with a superuser, or`,
      [sql],
    ),
  );
}
