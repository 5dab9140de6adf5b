/**
 * The configuration file of a local nats-server, and what it says of itself on connecting. Pure.
 */
export interface NatsSettings {
  readonly port: number;
  readonly storeDir: string;
  readonly pidFile: string;
  readonly logFile: string;
  /** Bytes of the largest message. Default: the server's own, 1 MiB. */
  readonly maxPayload?: number;
  /** How often file storage is fsynced: a duration ("10s", "2m") or "always". Default: the server's own, two minutes. */
  readonly syncInterval?: string;
  /** Upper bound of JetStream's file storage, bytes. Default: the server's own, three quarters of the free disk. */
  readonly maxFileStore?: number;
}

export function renderNatsConfig(settings: NatsSettings): string {
  const text = (value: string) => JSON.stringify(value);
  return [
    '# Written by drover at every start.',
    'host: "127.0.0.1"',
    `port: ${settings.port}`,
    'server_name: "drover-local"',
    `pid_file: ${text(settings.pidFile)}`,
    `log_file: ${text(settings.logFile)}`,
    ...(settings.maxPayload === undefined ? [] : [`max_payload: ${settings.maxPayload}`]),
    'jetstream {',
    `  store_dir: ${text(settings.storeDir)}`,
    ...(settings.maxFileStore === undefined ? [] : [`  max_file_store: ${settings.maxFileStore}`]),
    ...(settings.syncInterval === undefined ? [] : [`  sync_interval: ${text(settings.syncInterval)}`]),
    '}',
    '',
  ].join('\n');
}

export interface NatsGreeting {
  readonly version: string;
  readonly jetstream: boolean;
  readonly maxPayload: number;
  readonly serverName: string;
}

/** The server's first line, `INFO {json}`; null when it is something else. */
export function parseGreeting(line: string): NatsGreeting | null {
  if (!line.startsWith('INFO {')) return null;
  try {
    const info = JSON.parse(line.slice(5)) as Record<string, unknown>;
    return {
      version: String(info['version']),
      jetstream: info['jetstream'] === true,
      maxPayload: Number(info['max_payload']),
      serverName: String(info['server_name']),
    };
  } catch {
    return null;
  }
}

/** Whether "2.10.3" or "v2.11.0-RC.1" is at least `major.minor`. */
export function versionAtLeast(version: string, major: number, minor: number): boolean {
  const match = /(\d+)\.(\d+)/.exec(version);
  if (match === null) return false;
  const [a, b] = [Number(match[1]), Number(match[2])];
  return a > major || (a === major && b >= minor);
}
