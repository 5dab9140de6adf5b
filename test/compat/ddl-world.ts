/**
 * East captured, west applying, for tests of schema changes: what is done at the source is waited for at the replica, and both are compared,
 * catalog and rows.
 */
import type { PgMajor } from '@drover/local';
import { compareTables } from '@drover/testkit';
import { Replica } from '../lib/replica.ts';
import { DATABASE, type Name, startClusters } from '../lib/two-clusters.ts';
import { difference, shapesOf } from './shapes.ts';

export interface DdlWorldOptions {
  readonly source?: PgMajor;
  readonly target?: PgMajor;
  readonly tagging?: Readonly<Record<string, unknown>>;
  readonly cdc?: Readonly<Record<string, unknown>>;
  /** Makes tables on both, before the setup. */
  readonly sql?: string;
  readonly targetSql?: string;
}

/** `source` is a session of the owner of the tables, an ordinary role. */
export class DdlWorld extends Replica {
  static async start(options: DdlWorldOptions = {}): Promise<DdlWorld> {
    const clusters = await startClusters({
      postgres: { east: { major: options.source ?? 18 }, west: { major: options.target ?? 18 } },
      sections: {
        tagging: { reference: ['public.ref', 'public.ref2'], ...options.tagging },
        nats: { partitions: 3 },
        cdc: { heartbeat: '100ms', ...options.cdc },
      },
      makeDatabase: async (server, name) => {
        const root = await server.connect();
        await root.query('CREATE ROLE app_owner');
        await root.query(`CREATE DATABASE ${DATABASE} OWNER app_owner`);
        await root.end();
        const client = await server.connect(DATABASE);
        await client.query('SET ROLE app_owner');
        await client.query(options.sql ?? '');
        if (name === 'west') await client.query(options.targetSql ?? '');
        await client.end();
      },
    });
    const { servers, closer } = clusters;
    const connect = async (name: Name) => {
      const client = await servers[name].connect(DATABASE);
      closer.add({ close: () => client.end() });
      return client;
    };
    const [source, root, target] = [await connect('east'), await connect('east'), await connect('west')];
    await source.query('SET ROLE app_owner');
    const world = new DdlWorld(clusters, { source, root, target });
    await world.run('cdc east', 'apply west');
    return world;
  }

  /** Catalog and rows are the same, and nobody has been stopped. */
  async same(): Promise<void> {
    await this.passed();
    const [ours, theirs] = [await shapesOf(this.root), await shapesOf(this.target)];
    if (JSON.stringify(ours) !== JSON.stringify(theirs)) throw new Error(difference(ours, theirs));
    const tables = Object.keys(ours).filter(
      (name) => !name.startsWith('type ') && ours[name]?.['part'] !== true,
    );
    const differences = await compareTables(this.root, this.target, tables);
    if (differences.length > 0) throw new Error(JSON.stringify(differences).slice(0, 2000));
  }

  async flow(...statements: string[]): Promise<void> {
    await this.write(...statements);
    await this.same();
  }
}
