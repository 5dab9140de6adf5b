/** The connection that the lanes of a pipeline share, open while it is needed: origins in use are few (`max_active_replication_origins`). */
import type { Target } from '../apply/batch.ts';
import { TargetCatalog } from '../target/catalog.ts';
import { Session } from '../target/session.ts';
import type { LanesOptions } from './lane.ts';

/** It is closed when it was not needed for this long. */
export const IDLE_MS = 5000;

export class LaneTarget {
  readonly #options: LanesOptions;
  readonly #catalog: TargetCatalog;
  #session: Session | undefined;
  #idleSince = performance.now();

  constructor(options: LanesOptions) {
    this.#options = options;
    this.#catalog = new TargetCatalog(options.deps.source, options.deps.board);
  }

  async session(): Promise<Session> {
    this.#session ??= await Session.open(this.#options.deps.connect, `${this.#options.deps.origin}_lane`);
    return this.#session;
  }

  async target(): Promise<Target> {
    return this.#targetOf(await this.session(), this.#catalog);
  }

  /** On a connection and with a catalog of its own; undefined: there is no origin or no connection to spare. */
  async own(origin: string): Promise<Target | undefined> {
    const { deps } = this.#options;
    const session = await Session.open(deps.connect, origin).catch(() => undefined);
    if (session === undefined) return undefined;
    return this.#targetOf(session, new TargetCatalog(deps.source, deps.board));
  }

  /** Looked at now and then. */
  async closeIdle(needed: boolean): Promise<void> {
    if (needed) this.#idleSince = performance.now();
    if (this.#session === undefined || performance.now() - this.#idleSince < IDLE_MS) return;
    const session = this.#session;
    this.#session = undefined;
    await session.close();
  }

  async close(): Promise<void> {
    await this.#session?.close();
  }

  #targetOf(session: Session, catalog: TargetCatalog): Target {
    const { deps, stream } = this.#options;
    const { cluster, source, partition, failpoint } = deps;
    return { cluster, source, partition, stream, session, catalog, failpoint };
  }
}
