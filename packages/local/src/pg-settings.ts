/**
 * The configuration file of a local PostgreSQL. Included from postgresql.conf and rewritten at every start;
 * `ALTER SYSTEM` still overrides it.
 */
export type PgSettings = Readonly<Record<string, string | number | boolean>>;

export function localSettings(port: number, major: number, extra: PgSettings = {}): PgSettings {
  return {
    listen_addresses: '127.0.0.1',
    port,
    unix_socket_directories: '', // no socket: the data directory's path may be longer than one can be
    max_connections: 300,
    shared_buffers: '128MB',
    wal_level: 'logical',
    max_wal_senders: 32,
    max_replication_slots: 64,
    // One origin for each pipeline and lane of apply and each copy; up to 17 the slots' limit is also theirs.
    ...(major >= 18 ? { max_active_replication_origins: 64 } : {}),
    max_worker_processes: 16,
    password_encryption: 'scram-sha-256',
    log_line_prefix: '%m [%p] %q%u@%d ',
    log_timezone: 'UTC',
    timezone: 'UTC',
    ...extra,
  };
}

/** One `name = 'value'` a line; quotes doubled as postgresql.conf wants them. */
export function renderSettings(settings: PgSettings): string {
  const lines = Object.entries(settings).map(([name, value]) => {
    const text = typeof value === 'boolean' ? (value ? 'on' : 'off') : String(value);
    return `${name} = '${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
  });
  return `# Written by drover at every start. Changes belong into postgresql.conf or ALTER SYSTEM.\n${lines.join('\n')}\n`;
}
