/** What pgbench is made to do through each front door. Pure. */

/** Rows of pgbench_accounts that one tenant has. */
export const ACCOUNTS = 100_000;
/** Tenants in the world; workloads use the first of them or all. */
export const TENANTS = 8;

export type Protocol = 'simple' | 'extended' | 'prepared';

export interface Workload {
  readonly name: string;
  readonly script: 'select' | 'update';
  readonly protocol: Protocol;
  /** Over all tenants. */
  readonly clients: number;
  readonly tenants: number;
}

const PROTOCOLS: readonly Protocol[] = ['simple', 'extended', 'prepared'];

/**
 * Many more clients than backends, as many, and one alone for the time a pooler adds. With several tenants their clients share Drover's
 * backends, which must change tenant in between.
 */
const SHAPES = [
  { script: 'select', clients: 32, tenants: 1 },
  { script: 'select', clients: 8, tenants: 1 },
  { script: 'select', clients: 1, tenants: 1 },
  { script: 'select', clients: 32, tenants: TENANTS },
  { script: 'select', clients: 8, tenants: TENANTS },
  { script: 'update', clients: 32, tenants: 1 },
] as const;

export const WORKLOADS: readonly Workload[] = SHAPES.flatMap((shape) =>
  PROTOCOLS.map((protocol) => ({
    ...shape,
    protocol,
    name: `${shape.script}_${protocol}_${shape.clients}${shape.tenants > 1 ? `_of_${shape.tenants}_tenants` : ''}`,
  })),
);

/** A select of one of the tenant's own rows: pgbench's own would ask for the rows of tenant 1, whoever asks. */
export const SELECT_SCRIPT = `\\set aid random(:first, :last)
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
`;

/**
 * Flags of the pgbench that is one tenant's share of the workload. pgbench prepares with a blocking call: with a thread for each
 * client none of them can wait for another's backend.
 */
export function pgbenchArgs(workload: Workload, tenant: number, selectFile: string): string[] {
  const clients = String(workload.clients / workload.tenants);
  const [first, last] = [(tenant - 1) * ACCOUNTS + 1, tenant * ACCOUNTS];
  const script =
    workload.script === 'update' ? ['-N'] : ['-f', selectFile, '-D', `first=${first}`, '-D', `last=${last}`];
  return [...script, '-M', workload.protocol, '-c', clients, '-j', clients, '-n'];
}
