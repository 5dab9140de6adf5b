/** Where `drover up` keeps what it makes, and which ports it uses. */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '@drover/local';

export interface Ports {
  readonly nats: number;
  readonly proxy: number;
  readonly control: number;
  readonly metrics: number;
  readonly clusters: Readonly<Record<string, number>>;
}

/** What must survive a restart: secrets and ports. `state.json`, mode 0600. */
export interface UpState {
  readonly secret: string;
  readonly superPassword: string;
  /** Password of the user `app` of every sample tenant. */
  readonly samplePassword: string;
  readonly major: number;
  readonly ports: Ports;
}

export interface Layout {
  readonly dir: string;
  readonly configFile: string;
  readonly stateFile: string;
  readonly logs: string;
  cluster(name: string): string;
  readonly nats: string;
}

export function layoutOf(dir: string): Layout {
  return {
    dir,
    configFile: join(dir, 'drover.toml'),
    stateFile: join(dir, 'state.json'),
    logs: join(dir, 'logs'),
    cluster: (name) => join(dir, name),
    nats: join(dir, 'nats'),
  };
}

export function clearLayout(layout: Layout): void {
  rmSync(layout.dir, { recursive: true, force: true });
}

/** The state of an earlier run, or a new one. Ports are chosen anew when asked for free ones. */
export async function loadState(
  layout: Layout,
  options: { clusters: readonly string[]; major: number; autoPorts: boolean },
): Promise<UpState> {
  mkdirSync(layout.logs, { recursive: true });
  const old = existsSync(layout.stateFile)
    ? (JSON.parse(readFileSync(layout.stateFile, 'utf8')) as UpState)
    : undefined;
  const ports =
    old?.ports ??
    (options.autoPorts ? await someFreePorts(options.clusters) : standardPorts(options.clusters));
  const state: UpState = {
    secret: old?.secret ?? token(),
    superPassword: old?.superPassword ?? token(),
    samplePassword: old?.samplePassword ?? token(),
    major: old?.major ?? options.major,
    ports,
  };
  writeFileSync(layout.stateFile, `${JSON.stringify(state, null, 2)}\n`, { mode: 0o600 });
  return state;
}

function token(): string {
  return randomBytes(24).toString('base64url');
}

function standardPorts(clusters: readonly string[]): Ports {
  return {
    nats: 4222,
    proxy: 6432,
    control: 50051,
    metrics: 9090,
    clusters: Object.fromEntries(clusters.map((name, i) => [name, 5433 + i])),
  };
}

async function someFreePorts(clusters: readonly string[]): Promise<Ports> {
  const taken = new Set<number>();
  const next = async (): Promise<number> => {
    for (;;) {
      const port = await freePort();
      if (!taken.has(port)) {
        taken.add(port);
        return port;
      }
    }
  };
  const own: Record<string, number> = {};
  for (const name of clusters) own[name] = await next();
  return { nats: await next(), proxy: await next(), control: await next(), metrics: 0, clusters: own };
}
