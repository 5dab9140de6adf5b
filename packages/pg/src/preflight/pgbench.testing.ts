/** For tests: the tables of pgbench as `pgbench -i` makes them, the model of a stranger's schema. */
export const PGBENCH_TABLES = `
  CREATE TABLE public.pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
  CREATE TABLE public.pgbench_tellers (tid int NOT NULL PRIMARY KEY, bid int, tbalance int, filler char(84)) WITH (fillfactor = 100);
  CREATE TABLE public.pgbench_accounts (aid int NOT NULL PRIMARY KEY, bid int, abalance int, filler char(84)) WITH (fillfactor = 100);
  CREATE TABLE public.pgbench_branches (bid int NOT NULL PRIMARY KEY, bbalance int, filler char(88)) WITH (fillfactor = 100);
  INSERT INTO public.pgbench_branches (bid, bbalance) SELECT g, 0 FROM generate_series(1, 3) g;
  INSERT INTO public.pgbench_tellers (tid, bid, tbalance) SELECT g, (g - 1) / 10 + 1, 0 FROM generate_series(1, 30) g;
  INSERT INTO public.pgbench_accounts (aid, bid, abalance, filler) SELECT g, (g - 1) / 100 + 1, 0, '' FROM generate_series(1, 300) g;`;
