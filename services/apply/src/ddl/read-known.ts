/** What the replica has noted of a table of a source, or null: nothing has been told of it, and names are all there is. */
import { parseLsn } from '@drover/core';
import type { Flyer } from '../target/session.ts';
import type { TableShape } from './message.ts';
import type { Known, Version } from './versions.ts';

export async function readKnown(flyer: Flyer, source: string, oid: number): Promise<Known | null> {
  const [map] = await flyer.rows(
    `SELECT target_oid::text, pairs::text, shape::text FROM drover.ddl_map WHERE source = $1 AND oid = $2::bigint AND kind = 'table'`,
    [source, String(oid)],
  );
  if (map === undefined) return null;
  const versions = await flyer.rows(
    `SELECT generation::text, lsn::text, at::text, shape::text, missing::text FROM drover.ddl_version WHERE source = $1 AND oid = $2::bigint
     ORDER BY generation, lsn, at`,
    [source, String(oid)],
  );
  return {
    targetOid: map[0] == null ? null : Number(map[0]),
    pairs: JSON.parse(map[1] ?? '{}') as Known['pairs'],
    shape: map[2] == null ? null : (JSON.parse(map[2]) as TableShape),
    versions: versions.map(
      ([generation, lsn, at, shape, missing]): Version => ({
        generation: Number(generation),
        lsn: parseLsn(lsn ?? ''),
        at: parseLsn(at ?? ''),
        shape: JSON.parse(shape ?? '{}') as TableShape,
        missing: JSON.parse(missing ?? '{}') as Version['missing'],
      }),
    ),
  };
}
