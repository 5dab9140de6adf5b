const it = (_: string, f: () => Promise<void>) => { void f().then(() => process.exit(0)); };
import { makeWorld, start } from './testing/source-world.ts';
import { callRpc } from '@drover/bus';
import { sleep } from '@drover/core';
it('bench', async () => {
  const w = await makeWorld({ nats: { partitions: 4, maxBytes: 2e9 }, cdc: { blockBytes: 256*1024, inFlightBytes: 64<<20, heartbeatMs: 1000 } });
  await w.client.query(`CREATE TABLE big (id bigint, tenant text, at timestamptz default now(), amount numeric default 12.34, note text, j jsonb default '{"a":1,"b":"xyz"}', c1 int default 1, c2 int default 2, c3 text default 'hello', c4 boolean default true, primary key (tenant,id)); ALTER PUBLICATION drover ADD TABLE big`);
  for (const shape of (process.env.SHAPES ?? 'big').split(',')) {
  const N = 300000;
  if (shape==='big') await w.client.query(`INSERT INTO big(id,tenant,note) SELECT i, 'tenant-' || (i::bigint*7919 % 1000), md5(i::text) FROM generate_series(1,${N}) i`);
  else await w.client.query(`DO $$ BEGIN FOR k IN 0..${N/10-1} LOOP INSERT INTO big(id,tenant,note) SELECT ${N}+k*10+i, 'tenant-' || (k*7919 % 1000), md5(i::text) FROM generate_series(1,10) i; COMMIT; END LOOP; END $$`);
  const end = (await w.client.query(`SELECT pg_current_wal_lsn() l`)).rows[0].l;
  const t0 = performance.now(); const c0 = process.cpuUsage();
  const r = start(w); await r.ready;
  for (;;) {
    const {rows} = await w.client.query(`SELECT confirmed_flush_lsn >= $1 ok FROM pg_replication_slots WHERE slot_name like 'drover%' and database=current_database()`, [end]);
    if (rows[0].ok) break; await sleep(20);
  }
  const c = process.cpuUsage(c0); const s = (performance.now()-t0)/1000;
  let msgs = 0, bytes = 0; for (let p=0;p<4;p++){ const i = await w.bus.jsm.streams.info(`DROVER_CDC_east_${p}`); msgs+=i.state.messages; bytes+=i.state.bytes; }
  console.log(shape, 'rows/s', Math.round(N/s), 'cpu s/M', ((c.user+c.system)/1e6/N*1e6).toFixed(2), 'msgs', msgs, 'MB', (bytes/1e6).toFixed(1));
  await r.stop();
  }
  await w.close();
}, 300000);
