/** The drover.toml of a benchmark: defaults throughout, but for addresses. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Config, loadConfig, renderConfigTemplate, type TemplateValues } from '@drover/config';
import type { LocalNats } from '@drover/local';
import { type BenchServer, SUPER_PASSWORD } from './servers.ts';

export interface ConfigInput {
  readonly folder: string;
  readonly nats: LocalNats;
  readonly clusters: readonly BenchServer[];
  readonly sections?: TemplateValues['sections'];
}

export function writeConfig({ folder, nats, clusters, sections }: ConfigInput): Config {
  const file = join(folder, 'drover.toml');
  const text = renderConfigTemplate({
    sections: {
      ...sections,
      nats: { url: nats.url, max_bytes: '4GiB', ...sections?.['nats'] },
      security: { secret: 'a-secret-of-the-benchmark-0123456789abcdef' },
      telemetry: { port: 0, log_level: 'warn' },
    },
    clusters: clusters.map(({ name, port, database }) => ({
      name,
      host: '127.0.0.1',
      port,
      databases: [database],
      sslmode: 'disable',
      setup_user: 'postgres',
      setup_password: SUPER_PASSWORD,
    })),
  });
  writeFileSync(file, text, { mode: 0o600 });
  return loadConfig({ file });
}
