/** `drover init`, `doctor`, `setup`: making clusters fit, Drover's own or a stranger's. */
import { existsSync, writeFileSync } from 'node:fs';
import {
  type Config,
  deriveContextKey,
  derivePassword,
  loadConfig,
  renderConfigTemplate,
  setupConnection,
} from '@drover/config';
import { DroverError, describeError } from '@drover/core';
import {
  connectPg,
  doctor,
  doctorPair,
  type Finding,
  originName,
  ROLE_NAMES,
  type RolePasswords,
  STREAMED_ORIGINS,
  setupCluster,
  sortFindings,
  streamedOriginName,
} from '@drover/pg';
import { type Rule, rulesOf } from '@drover/transform';
import { type Output, table } from '../output/terminal.ts';
import { checkNats, setupNats } from './nats.ts';
import { besidesRules, transformFindings } from './transform-findings.ts';

/** Writes a commented drover.toml. @throws `config.invalid` when one is there and `force` is not given. */
export function init(args: { file: string; force: boolean }, out: Output): void {
  if (existsSync(args.file) && !args.force) {
    throw new DroverError('config.invalid', `${args.file} exists already`, { hint: '--force overwrites it' });
  }
  writeFileSync(args.file, renderConfigTemplate(), { mode: 0o600 });
  out.result(
    { event: 'written', file: args.file },
    () => `${args.file} written. Fill in the clusters, then: drover doctor, drover setup`,
  );
}

interface Report {
  readonly cluster: string;
  readonly database: string;
  readonly findings: readonly Finding[];
}

/** Every obstacle with the SQL that mends it. Returns whether no error was found. */
export async function runDoctor(config: Config, out: Output): Promise<boolean> {
  const reports: Report[] = [];
  const rules = rulesOf(config);
  const origins = (config.clusters.length - 1) * config.nats.partitions + STREAMED_ORIGINS;
  for (const cluster of config.clusters) {
    for (const database of cluster.databases) {
      reports.push({
        cluster: cluster.name,
        database,
        findings: await examine(config, cluster, database, origins),
      });
      if (rules.length > 0) reports.push(await rulesReport(config, rules, cluster, database));
    }
  }
  for (const pair of pairs(config)) reports.push(await comparePairOf(config, rules, pair));
  reports.push({ cluster: 'nats', database: '', findings: await checkNats(config) });
  for (const report of reports) {
    out.line(`\n${report.cluster}${report.database === '' ? '' : `/${report.database}`}`);
    for (const finding of report.findings) {
      out.result({ cluster: report.cluster, database: report.database, ...finding }, () => {
        const mark = { error: '✗', warning: '!', ok: '✓' }[finding.severity];
        const sql = finding.sql === undefined ? '' : `\n${finding.sql.replace(/^/gm, '      ')}`;
        return `  ${mark} ${finding.object}: ${finding.message}${sql}`;
      });
    }
  }
  const errors = reports.flatMap((r) => r.findings).filter((f) => f.severity === 'error').length;
  const warnings = reports.flatMap((r) => r.findings).filter((f) => f.severity === 'warning').length;
  out.result({ event: 'summary', errors, warnings }, () =>
    errors === 0
      ? `\nno obstacle, ${warnings} warnings`
      : `\n${errors} obstacles, ${warnings} warnings. Mend them, or let \`drover setup --adopt\` do what is safe.`,
  );
  return errors === 0;
}

async function examine(
  config: Config,
  cluster: Config['clusters'][number],
  database: string,
  origins: number,
): Promise<Finding[]> {
  try {
    const client = await connectPg(setupConnection(cluster, database));
    try {
      return sortFindings(
        await doctor(client, {
          cluster: cluster.name,
          tagging: config.tagging,
          ddl: config.capture.ddl,
          origins,
        }),
      );
    } finally {
      await client.end();
    }
  } catch (error) {
    return [
      {
        severity: 'error',
        code: 'connect',
        object: `${cluster.host}:${cluster.port}/${database}`,
        message: describeError(error),
      },
    ];
  }
}

async function rulesReport(
  config: Config,
  rules: readonly Rule[],
  cluster: Config['clusters'][number],
  database: string,
): Promise<Report> {
  const report = (findings: Finding[]) => ({ cluster: `${cluster.name} [[transform]]`, database, findings });
  try {
    return report(await transformFindings(config, rules, { cluster, database }));
  } catch (error) {
    const object = `${cluster.name}/${database}`;
    return report([{ severity: 'error', code: 'connect', object, message: describeError(error) }]);
  }
}

type Pair = { from: Config['clusters'][number]; to: Config['clusters'][number]; database: string };

function pairs(config: Config): Pair[] {
  return config.clusters.flatMap((from) =>
    config.clusters
      .filter((to) => to !== from)
      .flatMap((to) =>
        from.databases.filter((d) => to.databases.includes(d)).map((database) => ({ from, to, database })),
      ),
  );
}

async function comparePairOf(
  config: Config,
  rules: readonly Rule[],
  { from, to, database }: Pair,
): Promise<Report> {
  const name = `${from.name} → ${to.name}`;
  try {
    const source = await connectPg(setupConnection(from, database));
    const target = await connectPg(setupConnection(to, database)).catch(async (error: unknown) => {
      await source.end();
      throw error;
    });
    try {
      return {
        cluster: name,
        database,
        findings: sortFindings(
          besidesRules(await doctorPair(source, target, { tagging: config.tagging }), rules, to.name),
        ),
      };
    } finally {
      await source.end();
      await target.end();
    }
  } catch (error) {
    return {
      cluster: name,
      database,
      findings: [{ severity: 'error', code: 'connect', object: name, message: describeError(error) }],
    };
  }
}

/** Roles, schema, rights, policies, publication, slot, origins on every cluster; streams and buckets on the bus. Idempotent. */
export async function runSetup(
  config: Config,
  args: { adopt: boolean; resync: boolean; cluster?: string },
  out: Output,
): Promise<void> {
  const chosen = config.clusters.filter((c) => args.cluster === undefined || c.name === args.cluster);
  if (chosen.length === 0) {
    throw new DroverError(
      'config.invalid',
      `${config.file ?? 'drover.toml'} has no cluster ${args.cluster ?? ''}`,
      {
        hint: `it has ${config.clusters.map((c) => c.name).join(', ')}`,
      },
    );
  }
  for (const cluster of chosen) {
    const others = config.clusters.filter((c) => c !== cluster).map((c) => c.name);
    const partitions = Array.from({ length: config.nats.partitions }, (_, p) => p);
    const result = await setupCluster({
      cluster: cluster.name,
      databases: cluster.databases,
      connect: (database) => connectPg(setupConnection(cluster, database)),
      passwords: Object.fromEntries(
        ROLE_NAMES.map((role) => [role, derivePassword(config.security.secret, role)]),
      ) as unknown as RolePasswords,
      contextKey: deriveContextKey(config.security.secret),
      tagging: config.tagging,
      origins: [
        ...others.flatMap((source) => partitions.map((p) => originName(source, p))),
        ...Array.from({ length: config.migration.parallel }, (_, slot) => originName('copy', slot)),
        ...Array.from({ length: STREAMED_ORIGINS }, (_, slot) => streamedOriginName(slot)),
      ],
      ddl: config.capture.ddl,
      adopt: args.adopt,
      resync: args.resync,
      progress: (event) => {
        for (const action of event.actions)
          out.line(`  ${cluster.name}/${event.database} ${event.step}: ${action.object}`);
      },
    });
    for (const action of result.refused) out.line(`  ! for a superuser: ${action.sql}`);
    for (const name of result.unclassified)
      out.line(
        `  ! ${name} is not captured: nothing says whose rows it holds ([tagging] reference, exclude or overrides)`,
      );
    out.result(
      { event: 'setup', cluster: cluster.name, ...result },
      () =>
        `${cluster.name}: ${result.actions.length === 0 ? 'nothing to do' : `${result.actions.length} changes`}`,
    );
  }
  await setupNats(config, out);
}

/** `drover cluster list`. */
export function listClusters(config: Config, out: Output): void {
  const rows = config.clusters.map((c) => [c.name, `${c.host}:${c.port}`, c.databases.join(',')]);
  out.result(
    config.clusters.map((c) => ({ name: c.name, host: c.host, port: c.port, databases: c.databases })),
    () => table(['cluster', 'address', 'databases'], rows),
  );
}

export function configOf(file: string | undefined): Config {
  const config = loadConfig(file === undefined ? {} : { file });
  rulesOf(config); // says what is wrong with them
  return config;
}
