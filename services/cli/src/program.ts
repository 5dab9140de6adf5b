/** The `drover` command. Arguments in, a verb called, an exit code out. */
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { defaultDataDir, type PgMajor } from '@drover/local';
import { Command, InvalidArgumentError, Option } from 'commander';
import { configOf, init, listClusters, runDoctor, runSetup } from './commands/clusters.ts';
import { demoLoad } from './commands/demo-load.ts';
import { failoverHistory, failoverPaused, failoverStatus } from './commands/failover.ts';
import { keyVerbs } from './commands/key-verbs.ts';
import { ledgerList, ledgerResolve } from './commands/ledger.ts';
import { lag, status, verify } from './commands/replication.ts';
import { runService, untilSignal } from './commands/run.ts';
import { tenantCreate, tenantFailover, tenantList, tenantReplicate, tenantShow } from './commands/tenant.ts';
import { transformPreview } from './commands/transform.ts';
import { exitCodeOf, type Output, outputOf, reportError } from './output/terminal.ts';
import { up } from './up/up.ts';

interface Common {
  readonly json?: boolean;
  readonly config?: string;
}

const NO = 3;

function number(text: string): number {
  const n = Number(text);
  if (!Number.isSafeInteger(n) || n < 0) throw new InvalidArgumentError('a whole number is needed');
  return n;
}

/** Every verb has --json and --config; a verb gives `false` when its answer is "no" (exit code 3). */
function verb<A extends unknown[]>(
  command: Command,
  action: (out: Output, options: Common & Record<string, unknown>, ...args: A) => unknown,
): Command {
  return command
    .option('--json', 'one JSON object a line')
    .option(
      '-c, --config <file>',
      'configuration (default: drover.toml, or $DROVER_CONFIG)',
      process.env['DROVER_CONFIG'],
    )
    .action(async (...all: unknown[]) => {
      const given = all.slice(0, -2) as A;
      const options = all.at(-2) as Common & Record<string, unknown>;
      try {
        const answer = await action(outputOf(options.json === true), options, ...given);
        if (answer === false) process.exitCode = NO;
      } catch (error) {
        reportError(error, options.json === true);
        process.exitCode = exitCodeOf(error);
      }
    });
}

const program = new Command('drover')
  .description('Tenant-granular replication, failover and migration for PostgreSQL')
  .version('0.1.0')
  .showHelpAfterError('(--help shows what there is)');

verb(
  program
    .command('up')
    .description('everything on this machine: two clusters, NATS, all services, sample tenants')
    .option('--seed-tenants <n>', 'sample tenants', number, 50)
    .option('--data-dir <dir>', 'where data, logs and the configuration are kept', defaultDataDir())
    .option('--fresh', 'forget what an earlier run left')
    .option('--no-demo-load', 'no load')
    .option('--rate <n>', 'transactions a second of the demo load', number, 60)
    .addOption(new Option('--pg <major>', 'PostgreSQL major').choices(['16', '17', '18']).default('18'))
    .option('--auto-ports', 'any free ports instead of the standard ones')
    .option('--otlp-url <url>', 'OpenTelemetry collector for traces, written into a new configuration'),
  (_out, o) =>
    up({
      dataDir: resolve(String(o['dataDir'])),
      fresh: o['fresh'] === true,
      major: Number(o['pg']) as PgMajor,
      seedTenants: Number(o['seedTenants']),
      demoLoad: o['demoLoad'] !== false,
      rate: Number(o['rate']),
      autoPorts: o['autoPorts'] === true,
      ...(typeof o['otlpUrl'] === 'string' ? { otlpUrl: o['otlpUrl'] } : {}),
      json: o.json === true,
      signal: untilSignal(),
      entry: fileURLToPath(new URL('./main.ts', import.meta.url)),
    }),
);
verb(
  program.command('init').description('write a commented drover.toml').option('--force', 'overwrite'),
  (out, o) => init({ file: o.config ?? 'drover.toml', force: o['force'] === true }, out),
);
verb(
  program.command('doctor').description('name every obstacle on the clusters, with the SQL that mends it'),
  (out, o) => runDoctor(configOf(o.config), out),
);
verb(
  program
    .command('setup')
    .description('make roles, schema, policies, publication, slots, streams; safe to repeat')
    .option('--adopt', 'also make tables fit that are not yet (keys, replica identity)')
    .option('--resync', 'replace slots that nobody reads; the tenants of their clusters must be copied anew')
    .option('--cluster <name>', 'this cluster only'),
  (out, o) =>
    runSetup(
      configOf(o.config),
      {
        adopt: o['adopt'] === true,
        resync: o['resync'] === true,
        ...(typeof o['cluster'] === 'string' ? { cluster: o['cluster'] } : {}),
      },
      out,
    ),
);
verb(
  program
    .command('run <service>')
    .description('run one service: cdc, apply, failover, migration, proxy, control, or all')
    .option('--cluster <name>', 'cdc: the source; apply: the target')
    .option('--metrics-port <port>', 'port of /metrics', number),
  (_out, o, service: string) =>
    runService({
      service,
      ...(o.config === undefined ? {} : { config: o.config }),
      ...(typeof o['cluster'] === 'string' ? { cluster: o['cluster'] } : {}),
      ...(typeof o['metricsPort'] === 'number' ? { metricsPort: o['metricsPort'] } : {}),
    }),
);
verb(program.command('status').description('the state of every part'), (out, o) =>
  status(configOf(o.config), out),
);
verb(
  program
    .command('lag')
    .description('lag of each tenant on each replica')
    .argument('[tenant]')
    .option('--watch', 'again every second'),
  (out, o, tenant: string | undefined) =>
    lag(configOf(o.config), { tenant, watch: o['watch'] === true }, out),
);
verb(
  program
    .command('verify')
    .description('compare a tenant on its primary and its replicas, row by row where checksums differ')
    .argument('[tenant]')
    .option('--all', 'every tenant'),
  (out, o, tenant: string | undefined) => verify(configOf(o.config), { tenant, all: o['all'] === true }, out),
);

const text = (value: unknown) => (typeof value === 'string' ? value : undefined);
verb(
  program
    .command('transform')
    .description('rules of [[transform]]')
    .command('preview')
    .description('what the rules make of rows of a table, and whether they fit it, here and at the targets')
    .argument('<table>', 'schema.table')
    .option('--tenant <name>', 'rows of this tenant, under its rules (default: rules for everybody)')
    .option('--tier <name>', 'tier of the tenant', 'standard')
    .option('--target <cluster>', 'as applied there (default: as published)')
    .option('--cluster <name>', 'whose rows (default: the first)')
    .option('--database <name>', 'default: the first')
    .option('--rows <n>', 'rows to show', number, 5),
  (out, o, of: string) =>
    transformPreview(
      {
        config: configOf(o.config),
        table: of,
        tenant: text(o['tenant']),
        tier: String(o['tier']),
        target: text(o['target']),
        cluster: text(o['cluster']),
        database: text(o['database']),
        rows: Number(o['rows']),
      },
      out,
    ),
);

const tenant = program.command('tenant').description('tenants and where they are served');
verb(
  tenant
    .command('create <tenant>')
    .description('register a tenant and open it')
    .requiredOption('--primary <cluster>', 'cluster that serves it')
    .option('--replica <cluster...>', 'clusters that stand by (default: as the tier asks)')
    .option('--tier <tier>', 'quality of service', 'standard')
    .option('--user <user>', 'login within the tenant', 'app')
    .option('--password <password>', 'its password (default: one is made and shown)')
    .option('--has-data', 'its rows are there already: replicas are copied'),
  (out, o, name: string) => tenantCreate(configOf(o.config), name, o, out),
);
verb(tenant.command('list').description('all tenants'), (out, o) => tenantList(configOf(o.config), out));
verb(tenant.command('show <tenant>').description('one tenant'), (out, o, name: string) =>
  tenantShow(configOf(o.config), name, out),
);
verb(
  tenant
    .command('failover <tenant>')
    .description('move its primary to another cluster, without an error for its clients')
    .requiredOption('--to <cluster>', 'cluster to serve it')
    .option('--reason <text>', 'for the record', ''),
  (out, o, name: string) =>
    tenantFailover(configOf(o.config), name, { to: String(o['to']), reason: String(o['reason']) }, out),
);
verb(
  tenant
    .command('replicate <tenant>')
    .description('add a replica, or copy one anew, with a progress bar')
    .requiredOption('--to <cluster>', 'cluster to hold it')
    .option('--anew', 'copy it again although it is there'),
  (out, o, name: string) =>
    tenantReplicate(configOf(o.config), name, { to: String(o['to']), anew: o['anew'] === true }, out),
);

keyVerbs(program, tenant, verb);

const ledger = program.command('ledger').description('writes that were kept instead of applied');
verb(
  ledger
    .command('list')
    .description('entries, newest first')
    .option('--tenant <tenant>', 'of this tenant only')
    .option('--open', 'open ones only')
    .option('--limit <n>', 'at most', number, 100),
  (out, o) =>
    ledgerList(
      configOf(o.config),
      { tenant: o['tenant'] as string | undefined, open: o['open'] === true, limit: Number(o['limit']) },
      out,
    ),
);
verb(
  ledger.command('show <cluster> <id>').description('one entry with its rows'),
  (out, o, cluster: string, id: string) =>
    ledgerList(
      configOf(o.config),
      { cluster, id: number(id), open: false, limit: 1000, tenant: undefined },
      out,
    ),
);
for (const action of ['retry', 'skip'] as const) {
  verb(
    ledger
      .command(`${action} <cluster> <id>`)
      .description(action === 'retry' ? 'apply it again and go on' : 'leave it out, on record, and go on')
      .option('--who <name>', 'who decides', process.env['USER'] ?? 'unknown')
      .option('--database <name>', 'where the cluster has several', ''),
    (out, o, cluster: string, id: string) =>
      ledgerResolve(
        configOf(o.config),
        { cluster, database: String(o['database']), id: number(id), action, who: String(o['who']) },
        out,
      ),
  );
}

const failover = program.command('failover').description('the failover controller');
verb(failover.command('status').description('who leads, and how each cluster is judged'), (out, o) =>
  failoverStatus(configOf(o.config), out),
);
verb(failover.command('pause').description('no automatic failover until resumed'), (out, o) =>
  failoverPaused(configOf(o.config), true, out),
);
verb(failover.command('resume').description('automatic failover again'), (out, o) =>
  failoverPaused(configOf(o.config), false, out),
);
verb(
  failover
    .command('history')
    .description('what was moved, when and why')
    .option('--tenant <tenant>', 'of this tenant only')
    .option('--limit <n>', 'at most', number, 100),
  (out, o) =>
    failoverHistory(
      configOf(o.config),
      { tenant: o['tenant'] as string | undefined, limit: Number(o['limit']) },
      out,
    ),
);

const cluster = program.command('cluster').description('the clusters of the configuration');
verb(cluster.command('list').description('names and addresses'), (out, o) =>
  listClusters(configOf(o.config), out),
);

verb(
  program
    .command('demo-load', { hidden: true })
    .option('--tenants <names>')
    .option('--rate <n>', '', number, 60)
    .option('--state <file>'),
  (_out, o) =>
    demoLoad(configOf(o.config), {
      tenants: String(o['tenants']),
      rate: Number(o['rate']),
      state: String(o['state']),
    }),
);

await program.parseAsync();
// As a child of `drover up` the channel to it must not keep a process alive that has nothing left to do.
if (process.connected) process.disconnect();
