/**
 * The whole system as a user starts it: `drover up --json` as a child process, its verbs beside it. Everything it started is gone
 * when `stop` has returned, or the test fails.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { until } from '@drover/core';
import { testPort } from '@drover/testkit';
import pg from 'pg';
import { type Answer, ENTRY, runDrover } from './command.ts';

export { type Answer, errorOf, runDrover } from './command.ts';

export interface Ready {
  readonly proxy: string;
  readonly clusters: Readonly<Record<string, string>>;
  readonly nats: string;
  readonly control: string;
  readonly metrics: Readonly<Record<string, string>>;
  readonly config: string;
  readonly tenants: readonly string[];
}

export interface UpEvent {
  readonly event: string;
  readonly [key: string]: unknown;
}

/** Polls until `ask` gives something; what it last said belongs into the failure. */
export function eventually<T>(
  what: string,
  ask: () => Promise<T | undefined>,
  timeoutMs = 120_000,
): Promise<T> {
  return until(ask, {
    everyMs: 50,
    timeoutMs,
    onTimeout: () => new Error(`not within ${timeoutMs} ms: ${what}`),
  });
}

/** In the state that `drover up` finds: those that it chooses may be another test's by the time at which it listens. */
async function choosePorts(dir: string): Promise<void> {
  const file = join(dir, 'state.json');
  if (existsSync(file)) return;
  const ports = new Set<number>();
  while (ports.size < 5) ports.add(await testPort());
  const [nats, proxy, control, east, west] = [...ports];
  writeFileSync(
    file,
    JSON.stringify({ ports: { nats, proxy, control, metrics: 0, clusters: { east, west } } }),
  );
}

export class System {
  readonly dir: string;
  readonly events: UpEvent[] = [];
  readonly #child: ChildProcess;
  readonly #ended: Promise<number | null>;
  ready!: Ready;

  private constructor(dir: string, args: readonly string[]) {
    this.dir = dir;
    this.#child = spawn(
      process.execPath,
      [ENTRY, 'up', '--json', '--auto-ports', '--data-dir', dir, ...args],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    this.#ended = new Promise((resolve) => this.#child.on('exit', (code) => resolve(code)));
    const lines = createInterface({ input: this.#child.stdout! });
    lines.on('line', (line) => this.events.push(JSON.parse(line) as UpEvent));
  }

  /** A folder that PostgreSQL's own user can reach. */
  static folder(): string {
    const dir = mkdtempSync(join(tmpdir(), 'drover-e2e-'));
    chmodSync(dir, 0o755);
    return dir;
  }

  static async start(dir: string, args: readonly string[]): Promise<System> {
    if (!args.includes('--fresh')) await choosePorts(dir);
    const system = new System(dir, args);
    let ended: number | null | undefined;
    void system.#ended.then((code) => {
      ended = code;
    });
    const ready = await until(
      () => {
        if (ended !== undefined)
          throw new Error(`drover up ended with ${ended}: ${JSON.stringify(system.events.at(-1))}`);
        return system.events.find((e) => e.event === 'ready');
      },
      { everyMs: 50, timeoutMs: 280_000, onTimeout: () => new Error('drover up was not ready within 280 s') },
    );
    system.ready = ready as unknown as Ready;
    return system;
  }

  /** Changes settings that stand in the configuration as comments, each under a key that only one section has. */
  configure(settings: Readonly<Record<string, string>>): void {
    let text = readFileSync(this.ready.config, 'utf8');
    for (const [key, value] of Object.entries(settings)) {
      const line = new RegExp(`^#? ?${key} = .*$`, 'gm');
      const found = text.match(line)?.length ?? 0;
      if (found !== 1) throw new Error(`${key} stands in the configuration ${found} times`);
      text = text.replace(line, `${key} = ${value}`);
    }
    writeFileSync(this.ready.config, text);
  }

  /** SIGKILL; resolves when it is back. */
  async restart(service: string, cluster?: string): Promise<void> {
    const name = cluster === undefined ? service : `${service}-${cluster}`;
    const from = this.events.length;
    const pid = this.pidOf(service, cluster);
    if (pid === undefined) throw new Error(`${name} does not run`);
    process.kill(pid, 'SIGKILL');
    await eventually(`${name} is back`, async () =>
      this.events.slice(from).some((e) => e.event === 'ready' && e['name'] === name) ? true : undefined,
    );
  }

  /** For tests in which no client may see an error: a machine that stands still for a second or two is neither a dead cluster nor a lost lease. */
  async patient(more: Readonly<Record<string, string>> = {}): Promise<void> {
    this.configure({ lease: '"8s"', hold: '"120s"', grace: '"6s"', ...more });
    await Promise.all([this.restart('proxy'), this.restart('failover')]);
    // The lease of the one that was killed has to pass first; until then every switch-over is refused.
    await eventually('a controller leads', async () =>
      (await this.drover('failover', 'status')).code === 0 ? true : undefined,
    );
  }

  /** Runs a verb; never throws for an exit code. */
  drover(...args: string[]): Promise<Answer> {
    return runDrover(...args, '--config', this.ready.config);
  }

  /** A verb's JSON result: the last line. */
  async json<T>(...args: string[]): Promise<T> {
    const answer = await this.drover(...args, '--json');
    const last = answer.stdout.trim().split('\n').at(-1) ?? '';
    if (last === '') throw new Error(`drover ${args.join(' ')} said nothing: ${answer.stderr}`);
    return JSON.parse(last) as T;
  }

  /** Process ids of everything that belongs to this system, by its folder in their command line. */
  processes(): { pid: number; command: string }[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .flatMap((name) => {
        try {
          const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ');
          return command.includes(this.dir) ? [{ pid: Number(name), command }] : [];
        } catch {
          return [];
        }
      });
  }

  pidOf(service: string, cluster?: string): number | undefined {
    return this.processes().find(
      (p) =>
        p.command.includes(` run ${service} `) &&
        (cluster === undefined || p.command.includes(`--cluster ${cluster}`)),
    )?.pid;
  }

  /** Statements as the superuser, on a connection of their own. Several statements: the last one's rows. */
  async sql<R extends pg.QueryResultRow>(cluster: string, text: string, params?: unknown[]): Promise<R[]> {
    const client = new pg.Client({ connectionString: this.ready.clusters[cluster] });
    client.on('error', () => undefined);
    await client.connect();
    try {
      const answer = await client.query<R>(text, params);
      return (Array.isArray(answer) ? (answer as pg.QueryResult<R>[]).at(-1) : answer)?.rows ?? [];
    } finally {
      await client.end();
    }
  }

  /** Where a tenant's application connects. */
  proxyUrl(tenant: string): string {
    const url = new URL(this.ready.proxy);
    url.username = `${tenant}.app`;
    return url.href;
  }

  /** One statement as a tenant's application, on a connection of its own. */
  async asTenant(tenant: string, text: string, params?: unknown[]): Promise<pg.QueryResult> {
    const client = new pg.Client({ connectionString: this.proxyUrl(tenant) });
    client.on('error', () => undefined);
    await client.connect();
    try {
      return await client.query(text, params);
    } finally {
      await client.end();
    }
  }

  /** Text of /metrics or /readyz of a service (`cdc-east`, `proxy` ...), also after it was started again. */
  async ask(
    service: string,
    path: 'metrics' | 'readyz' | 'livez',
  ): Promise<{ status: number; text: string }> {
    const again = this.events.findLast((e) => e.event === 'ready' && e['name'] === service);
    const info = again?.['info'] as { metricsUrl?: string } | undefined;
    const answer = await fetch(`${info?.metricsUrl ?? this.ready.metrics[service]}/${path}`);
    return { status: answer.status, text: await answer.text() };
  }

  postmaster(cluster: string): number {
    return Number(readFileSync(join(this.dir, cluster, 'data/postmaster.pid'), 'utf8').split('\n')[0]);
  }

  natsServer(): number {
    return Number(readFileSync(join(this.dir, 'nats/nats.pid'), 'utf8'));
  }

  /** Starts servers that ended again. */
  revive(): void {
    this.#child.kill('SIGUSR1');
  }

  waitEvent(name: string, from: number, timeoutMs = 180_000): Promise<UpEvent> {
    return until(() => this.events.slice(from).find((e) => e.event === name), {
      everyMs: 25,
      timeoutMs,
      onTimeout: () => new Error(`no event ${name} within ${timeoutMs} ms`),
    });
  }

  /** Ctrl-C. Returns the exit code and what is left of it. */
  async stop(): Promise<{ code: number | null; left: string[] }> {
    this.#child.kill('SIGINT');
    const code = await this.#ended;
    return { code, left: this.processes().map((p) => p.command) };
  }

  remove(): void {
    for (const { pid } of this.processes()) process.kill(pid, 'SIGKILL');
    rmSync(this.dir, { recursive: true, force: true });
  }
}
