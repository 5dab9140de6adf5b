/** The transactions in progress of one pipeline that are kept open at the target. */
import type { StreamedTogether } from '@drover/block';
import type { BatchResult } from '../apply/batch.ts';
import type { PassedPart } from '../apply/route.ts';
import type { EarlyHeader, Entry } from '../changes/entry.ts';
import type { CommitSide } from './commit-together.ts';
import { Group, type GroupOptions } from './group.ts';
import type { StreamedSlots } from './slots.ts';

export interface GroupsOptions extends Omit<GroupOptions, 'origin'> {
  readonly slots: StreamedSlots;
  /** Called when one has ended. */
  readonly onEnded: () => void;
}

export class StreamedGroups {
  readonly #options: GroupsOptions;
  readonly #groups = new Map<string, Group>();

  constructor(options: GroupsOptions) {
    this.#options = options;
  }

  /** The main lane has committed everything up to `seq`; these parts stood among it. */
  passed(parts: readonly PassedPart[], seq: number): void {
    for (const { entry, ready } of parts) {
      const key = keyOf(entry.early);
      const group =
        this.#groups.get(key) ?? (ready && entry.early?.part === 0 ? this.#begin(key, entry) : undefined);
      group?.part(entry, ready);
    }
    for (const group of this.#groups.values()) group.passed(seq);
  }

  /** The main lane is at a commit; see {@link Group.commit}. */
  async commit(
    entry: Entry,
    header: EarlyHeader & { streamed: StreamedTogether },
    side: CommitSide,
  ): Promise<BatchResult | null> {
    const group = this.#groups.get(keyOf(header));
    if (group === undefined) return null;
    return group.commit(entry, header, side);
  }

  /** Are rows of the tenant's written that have neither been committed nor rolled back yet? */
  holds(header: EarlyHeader): boolean {
    return this.#groups.get(keyOf(header))?.holds(header.tenant) ?? false;
  }

  /** Is there such a transaction with rows of the tenant's? */
  writes(tenant: string): boolean {
    for (const group of this.#groups.values()) if (group.holds(tenant)) return true;
    return false;
  }

  /** Lets go of all locks that are held; true: there were some. Nothing is lost: see group.ts. */
  abandon(why: string): boolean {
    for (const group of this.#groups.values()) group.abandon(why);
    return this.#groups.size > 0;
  }

  async close(): Promise<void> {
    this.abandon('the pipeline ends');
    await Promise.all([...this.#groups.values()].map((group) => group.ended));
  }

  #begin(key: string, entry: Entry): Group | undefined {
    const { slots, onEnded } = this.#options;
    const origin = slots.take();
    if (origin === undefined) return undefined;
    const group = new Group(entry, { ...this.#options, origin });
    this.#groups.set(key, group);
    void group.run(entry.firstSeq).then(() => {
      this.#groups.delete(key);
      slots.give(origin);
      onEnded();
    });
    return group;
  }
}

function keyOf(header: EarlyHeader | null): string {
  if (header === null || header.streamed.kind === 'session') return '';
  return `${header.streamed.attempt} ${header.streamed.xid}`;
}

/** The lane's own word that a transaction has committed; null: the entry is something else. */
export function togetherOf(entry: Entry): (EarlyHeader & { streamed: StreamedTogether }) | null {
  const { early } = entry;
  return early?.streamed.kind === 'together' ? { ...early, streamed: early.streamed } : null;
}
