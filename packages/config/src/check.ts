// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the placeholders of drover.toml look like those of template strings
/**
 * What one value alone cannot show: names, addresses, and values that must fit each other. Works on sections some of whose fields may
 * be missing because they were wrong already: those are passed over, so that nothing is told twice.
 */
import { clusterId, describeError } from '@drover/core';
import { isTable } from './convert.ts';
import type { Faults } from './faults.ts';
import { CLUSTERS_MAX } from './ports.ts';

type Table = Readonly<Record<string, unknown>>;

const SECRET_LENGTH_MIN = 32;

export function checkWhole(sections: Table, faults: Faults): void {
  checkClusters(sections['clusters'], faults);
  checkSecret(field(sections, 'security', 'secret'), faults);
  checkTagging(sections['tagging'], faults);
  checkUrl(
    'nats.url',
    field(sections, 'nats', 'url'),
    ['nats:', 'tls:', 'ws:', 'wss:'],
    'url = "nats://nats-1:4222"',
    faults,
  );
  checkUrl(
    'telemetry.otlp_url',
    field(sections, 'telemetry', 'otlpUrl'),
    ['http:', 'https:'],
    'otlp_url = "http://collector:4318"',
    faults,
  );
  checkTogether(sections, faults);
}

function checkClusters(value: unknown, faults: Faults): void {
  const clusters = Array.isArray(value) ? value.filter(isTable) : [];
  if (clusters.length === 0)
    faults.add(
      'clusters',
      'at least one cluster is needed',
      '[[clusters]] with name = "east", host and databases',
    );
  if (clusters.length > CLUSTERS_MAX)
    faults.add('clusters', `${clusters.length} are too many, ${CLUSTERS_MAX} at most`, 'fewer [[clusters]]');
  const names = new Map<string, string>();
  const places = new Map<string, string>();
  for (const [i, cluster] of clusters.entries()) {
    const path = `clusters[${i}]`;
    const { name, databases } = cluster;
    if (typeof name === 'string') {
      try {
        clusterId(name);
      } catch (error) {
        faults.add(`${path}.name`, describeError(error), 'name = "east"');
      }
      twice(names, name, `${path}.name`, 'a name of its own for each cluster', faults);
    }
    if (typeof cluster['host'] === 'string' && cluster['host'].trim() === '')
      faults.add(`${path}.host`, 'is empty', 'host = "db-east.internal"');
    if (!Array.isArray(databases)) continue;
    if (databases.length === 0) faults.add(`${path}.databases`, 'is empty', 'databases = ["app"]');
    for (const database of databases) {
      if (database === '') faults.add(`${path}.databases`, 'holds an empty name', 'databases = ["app"]');
      const place = `${String(cluster['host'])}:${String(cluster['port'])}/${String(database)}`;
      twice(places, place, `${path}.databases`, 'a database that no other entry names', faults);
    }
  }
}

function twice(seen: Map<string, string>, value: string, key: string, example: string, faults: Faults): void {
  const first = seen.get(value);
  if (first === undefined) seen.set(value, key);
  else faults.add(key, `"${value}" stands twice, first at ${first}`, example);
}

function checkSecret(secret: unknown, faults: Faults): void {
  if (typeof secret !== 'string' || secret.length >= SECRET_LENGTH_MIN) return;
  faults.add(
    'security.secret',
    `*** has ${secret.length} characters, at least ${SECRET_LENGTH_MIN} are needed`,
    'secret = "${DROVER_SECRET}", set to the output of `openssl rand -base64 32`',
  );
}

function checkTagging(value: unknown, faults: Faults): void {
  if (!isTable(value)) return;
  const { reference, exclude, overrides } = value;
  const listed = new Map<string, string>();
  for (const [key, names, wildcard] of [
    ['tagging.reference', reference, true],
    ['tagging.exclude', exclude, true],
    ['tagging.overrides', isTable(overrides) ? Object.keys(overrides) : [], false],
  ] as const) {
    const example = wildcard
      ? `${key.slice(8)} = ["public.plans"]`
      : 'overrides = { "public.pgbench_accounts" = "bid" }';
    for (const name of Array.isArray(names) ? names.map(String) : []) {
      if (!/^[^.\s]+\.[^.\s]+$/.test(name) || (!wildcard && name.endsWith('.*'))) {
        faults.add(key, `"${name}" is not schema.table${wildcard ? ' or schema.*' : ''}`, example);
      }
      twice(listed, name, key, 'each table in one of reference, exclude and overrides', faults);
    }
  }
  for (const [table, column] of Object.entries(isTable(overrides) ? overrides : {})) {
    if (column === '')
      faults.add(
        'tagging.overrides',
        `the column of "${table}" is empty`,
        'overrides = { "public.pgbench_accounts" = "bid" }',
      );
  }
  if (value['mode'] === 'column' && value['column'] === '')
    faults.add('tagging.column', 'is empty', 'column = "tenant_id"');
  if (value['mode'] === 'schema' && value['schemaPrefix'] === '') {
    faults.add(
      'tagging.schema_prefix',
      'is empty: every schema would be a tenant',
      'schema_prefix = "tenant_"',
    );
  }
}

function checkUrl(
  key: string,
  value: unknown,
  protocols: readonly string[],
  example: string,
  faults: Faults,
): void {
  if (typeof value !== 'string') return;
  // The scheme may be left out.
  const url = URL.parse(value.includes('://') ? value : `${protocols[0]}//${value}`);
  if (url === null || !/^[\w.[\]:-]+$/.test(url.hostname) || !protocols.includes(url.protocol)) {
    const schemes = protocols.map((protocol) => `${protocol}//`).join(', ');
    faults.add(key, `"${withoutPassword(value)}" is not an address (${schemes})`, example);
  } else if (url.username !== '' || url.password !== '') {
    faults.add(
      key,
      'credentials do not belong into an address, which is shown',
      `${example} and user, password beside it`,
    );
  }
}

function withoutPassword(address: string): string {
  return address.replace(/\/\/[^@]*@/, '//***@');
}

function checkTogether(sections: Table, faults: Faults): void {
  const get = (section: string, name: string) => field(sections, section, name);
  if (get('nats', 'password') !== undefined && get('nats', 'user') === undefined) {
    faults.add('nats.user', 'is missing beside password', 'user = "drover"');
  }
  if ((get('proxy', 'certFile') === undefined) !== (get('proxy', 'keyFile') === undefined)) {
    const key = get('proxy', 'certFile') === undefined ? 'cert_file' : 'key_file';
    faults.add(`proxy.${key}`, 'cert_file and key_file go together', `${key} = "/etc/drover/tls.pem"`);
  }
  const [proxy, control] = [get('proxy', 'port'), get('control', 'port')];
  if (
    typeof proxy === 'number' &&
    proxy !== 0 &&
    proxy === control &&
    get('proxy', 'host') === get('control', 'host')
  ) {
    faults.add('control.port', `${proxy} is the proxy's port already`, 'port = 50051');
  }
  const [block, inFlight] = [get('cdc', 'blockBytes'), get('cdc', 'inFlightBytes')];
  if (typeof block === 'number' && typeof inFlight === 'number' && inFlight < 2 * block) {
    faults.add(
      'cdc.in_flight_bytes',
      'is less than two blocks (cdc.block_bytes): reading would stand still',
      'in_flight_bytes = "64MiB"',
    );
  }
}

function field(sections: Table, section: string, name: string): unknown {
  const table = sections[section];
  return isTable(table) ? table[name] : undefined;
}
