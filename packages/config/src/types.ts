/** The parsed configuration. Durations in milliseconds, sizes in bytes. Derived from the option table in `options.ts`. */
import type { ClusterId } from '@drover/core';

export interface ClusterConfig {
  readonly name: ClusterId;
  readonly host: string;
  readonly port: number;
  /** Databases whose tenants are captured; the first is the default one. */
  readonly databases: readonly string[];
  readonly sslmode: 'disable' | 'prefer' | 'require' | 'verify-full';
  /** User and password with which `doctor` and `setup` connect (a superuser, or the owner of the tables with CREATEROLE and REPLICATION). */
  readonly setupUser: string;
  readonly setupPassword: string;
}

export interface Config {
  /** The file it was read from, for messages; undefined when built in memory. */
  readonly file: string | undefined;
  readonly nats: {
    readonly url: string;
    readonly user: string | undefined;
    readonly password: string | undefined;
    readonly replicas: number;
    readonly partitions: number;
    readonly maxBytes: number;
    readonly maxAgeMs: number;
    /** What must have happened to a change before the source's slot is confirmed beyond it. */
    readonly durability: 'nats-fsync' | 'applied';
    /** Monitoring addresses, separated by commas. */
    readonly monitor: string | undefined;
  };
  readonly clusters: readonly ClusterConfig[];
  readonly security: {
    /** At least 32 characters. Role passwords and the context key are derived from it (`derive.ts`). */
    readonly secret: string;
    /** `file` or `env`: where the master keys of sealing stand; without it nothing can be sealed. */
    readonly masterKey?: Readonly<Record<string, string>> | undefined;
  };
  readonly tagging: {
    readonly mode: 'column' | 'schema' | 'database';
    readonly column: string;
    /** `schema.table` -> column, where it differs from `column`. */
    readonly overrides: Readonly<Record<string, string>>;
    /** Reference tables, `schema.table`: they belong to `_shared`. */
    readonly reference: readonly string[];
    /** Tables that are not captured, `schema.table`. */
    readonly exclude: readonly string[];
    /** Schema mode: schemas of tenants are those whose name starts with this; the rest is the tenant's name. */
    readonly schemaPrefix: string;
    /** Database mode: likewise for databases. */
    readonly databasePrefix: string;
  };
  /** `standard` is always there. */
  readonly tiers: Readonly<
    Record<
      string,
      {
        readonly weight: number;
        /** Clusters that stand by for a new tenant, as far as there are that many. */
        readonly replicas: number;
      }
    >
  >;
  /** `[[transform]]` as they stand in the file, environment filled in: `rulesOf` of packages/transform reads them. */
  readonly transform: readonly Readonly<Record<string, unknown>>[];
  readonly capture: {
    /** Schema changes are captured by event triggers and made on replicas in order. */
    readonly ddl: boolean;
  };
  readonly cdc: {
    /** A block is closed at this raw size. */
    readonly blockBytes: number;
    readonly compression: 'auto' | 'columns' | 'zstd' | 'snappy' | 'none';
    /** Or when its oldest change is this old and the bus is busy. */
    readonly flushMs: number;
    /** Bytes published but not yet acknowledged; at this bound the reader stops reading. */
    readonly inFlightBytes: number;
    readonly heartbeatMs: number;
    /** How long everybody waits for one sealed tenant's key. */
    readonly keyPatienceMs: number;
    /** The decoder at the source holds so much of transactions in progress; beyond, the largest is sent as far as it has come. */
    readonly chunkBytes: number;
    /** What has come of a transaction before its commit waits in the reader for that; beyond, it is published. */
    readonly streamAboveBytes: number;
    /** Bounds beyond which the slot is warned of: WAL kept, WAL that may still be written, time until then. */
    readonly warnRetained: number;
    readonly warnSafeWal: number;
    readonly warnTimeLeftMs: number;
  };
  readonly apply: {
    /** Bytes of blocks merged into one target transaction. */
    readonly batchBytes: number;
    readonly lingerMs: number;
  };
  readonly failover: {
    readonly auto: boolean;
    /** A cluster is dead when signals have failed for this long. */
    readonly graceMs: number;
    readonly minSignals: number;
    readonly minObservers: number;
    readonly cooldownMs: number;
    /** A planned switch-over gives up when closing or draining takes longer. */
    readonly drainTimeoutMs: number;
    readonly parallel: number;
  };
  readonly migration: { readonly chunkRows: number; readonly parallel: number };
  readonly proxy: {
    readonly host: string;
    readonly port: number;
    readonly tls: 'off' | 'allow' | 'require';
    readonly certFile: string | undefined;
    readonly keyFile: string | undefined;
    /** Backend connections per cluster and database. */
    readonly poolSize: number;
    /** A statement waits at most this long for its tenant's primary. */
    readonly holdMs: number;
    readonly leaseMs: number;
    readonly maxClients: number;
  };
  readonly control: {
    readonly host: string;
    /** 0: any free port. */
    readonly port: number;
    /** Callers of gRPC must show it; undefined: nobody is asked. */
    readonly token: string | undefined;
  };
  readonly telemetry: {
    readonly host: string;
    /** First port of /metrics, /livez, /readyz; services add their own offset (`ports.ts`). 0: any free port. */
    readonly port: number;
    readonly topTenants: number;
    readonly otlpUrl: string | undefined;
    readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
  };
}
