import { type BlockVisitor, BlockWriter, type Relation, walkBlock } from '@drover/block';
import { clusterId, epoch, type Lsn, tenantId } from '@drover/core';
import { expect, it } from 'vitest';
import { cellsOf, tuple } from '../rows.testing.ts';
import { rulesOfTest } from '../rules.testing.ts';
import { transformed } from './block-filter.ts';
import { Transforms } from './transforms.ts';

const table = (name: string): Relation => ({
  oid: 1,
  schema: 'public',
  name,
  identity: 'd',
  columns: [
    { name: 'id', typeOid: 25, typmod: -1, key: true },
    { name: 'mail', typeOid: 25, typmod: -1, key: false },
  ],
});

const header = {
  source: clusterId('east'),
  database: 'app',
  tenant: tenantId('t1'),
  epoch: epoch(1),
  systemId: '1',
  generation: 1,
  firstLsn: 1n as Lsn,
  lastLsn: 2n as Lsn,
  part: 0,
  complete: true,
  commitTimeUs: 0n,
};

/** Keeps offsets until the end, as apply does: all must be right in the bytes given last. */
function collector() {
  const at: [kind: string, name: string, ...ranges: number[]][] = [];
  const names: string[] = [];
  let last: Buffer = Buffer.alloc(0);
  const put = (bytes: Buffer, kind: string, relation: number, ...ranges: number[]) => {
    last = bytes;
    at.push([kind, names[relation]!, ...ranges]);
  };
  const visitor: BlockVisitor = {
    relation: (_, r) => void names.push(`${r.name}(${r.columns.map((c) => c.name).join()})`),
    begin: () => void at.push(['begin', '']),
    insert: (r, bytes, start, end) => put(bytes, 'insert', r, start, end),
    update: (r, kind, bytes, ...ranges) => put(bytes, `update ${kind}`, r, ...ranges),
    delete: (r, kind, bytes, ...ranges) => put(bytes, `delete ${kind}`, r, ...ranges),
    truncate: (relations) => void at.push(['truncate', relations.map((r) => names[r]).join()]),
    message: (_, prefix) => void at.push(['message', prefix]),
  };
  const result = () =>
    at.map(([kind, name, ...ranges]) => [
      kind,
      name,
      ...[0, 2].flatMap((i) => {
        const [from = 0, to = 0] = ranges.slice(i, i + 2);
        return from === to
          ? []
          : [
              cellsOf(Buffer.from(last.subarray(from, to)))
                .map(String)
                .join('|'),
            ];
      }),
    ]);
  return { visitor, result };
}

it('a block comes out as the rules make it, however its buffer grows', () => {
  const writer = new BlockWriter();
  const users = writer.relation(table('users'));
  const logs = writer.relation(table('logs'));
  const row = (id: string, mail: string) => tuple([Buffer.from(id), Buffer.from(mail)]);
  const big = 'x'.repeat(500);
  writer.begin(1n as Lsn, 0n, 1);
  const add = (relation: number, id: string, mail: string) => {
    const bytes = row(id, mail);
    writer.insert(relation, bytes, 0, bytes.length);
  };
  add(users, 'ada', 'ada@x');
  add(users, 'tmp', 'tmp@x');
  add(logs, '1', big);
  const pair = Buffer.concat([row('ada', ''), row('tmp', 'left')]);
  const middle = row('ada', '').length;
  writer.update(users, 'K', pair, 0, middle, middle, pair.length);
  const back = Buffer.concat([row('tmp', ''), row('bob', 'entered')]);
  writer.update(users, 'K', back, 0, middle, middle, back.length);
  const plain = row('bob', 'stays');
  writer.update(users, null, plain, 0, 0, 0, plain.length);
  writer.update(logs, 'K', pair, 0, middle, middle, pair.length);
  writer.delete(users, 'K', back, 0, middle);
  writer.delete(users, 'K', pair, 0, middle);
  writer.delete(logs, 'K', pair, 0, middle);
  writer.truncate([users, logs], 0);
  writer.message(2n as Lsn, 'drover.barrier', Buffer.from('{}'));
  const rules = rulesOfTest({
    tables: ['public.users'],
    stage: 'apply',
    where: "id NOT LIKE 'tmp%'",
    actions: [
      { mask: 'mail', with: 'partial', first: 1 },
      { rename: 'mail', to: 'email' },
    ],
  });
  const transforms = new Transforms({ rules, secret: 's', tenantColumn: () => undefined });
  const { visitor, result } = collector();
  walkBlock(
    writer.finish(header),
    transformed(
      visitor,
      transforms.for({ stage: 'apply', tenant: 't1', tier: 'standard', target: 'west' })!,
      16,
    ),
  );
  expect(result()).toEqual([
    ['begin', ''],
    ['insert', 'users(id,email)', 'ada|a****'],
    ['insert', 'logs(id,mail)', `1|${big}`],
    ['delete K', 'users(id,email)', 'ada|'],
    ['insert', 'users(id,email)', 'bob|e******'],
    ['update null', 'users(id,email)', 'bob|s****'],
    ['update K', 'logs(id,mail)', 'ada|', 'tmp|left'],
    ['delete K', 'users(id,email)', 'ada|'],
    ['delete K', 'logs(id,mail)', 'ada|'],
    ['truncate', 'users(id,email),logs(id,mail)'],
    ['message', 'drover.barrier'],
  ]);
});
