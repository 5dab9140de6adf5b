/**
 * What tables were said to be, in the order in which it was said. A transaction in progress is told of a table once, and what it was told is read
 * when it commits: by then the table may have been changed and described anew, since a savepoint that was rolled back holds no lock any more. The word that came last must be the
 * last one read, for PostgreSQL need not say it again. Pure.
 */
interface Description {
  /** Counts as it came. */
  readonly serial: number;
  /** The Relation message as it stands outside of a stream (manual, 54.9). */
  readonly message: Buffer;
}

export class Descriptions {
  #serial = 0;
  /** By transaction in progress, its newest of each table. */
  readonly #own = new Map<number, Map<number, Description>>();
  /** Of each table what holds for all; of those only that were described while something is in progress. */
  readonly #common = new Map<number, Description>();

  /** The transaction is in progress. */
  begin(xid: number): void {
    if (!this.#own.has(xid)) this.#own.set(xid, new Map());
  }

  /** A Relation message. `xid`: of the transaction in whose stream it stands; null: in none. What is too short is the parser's to refuse. */
  said(xid: number | null, bytes: Buffer, start: number, end: number): void {
    const at = start + (xid === null ? 1 : 5);
    if (this.#own.size === 0 || end - at < 4) return;
    const message = Buffer.concat([bytes.subarray(start, start + 1), bytes.subarray(at, end)]);
    const to = xid === null ? this.#common : this.#own.get(xid);
    to?.set(bytes.readUInt32BE(at), { serial: this.#serial++, message });
  }

  /** The transaction has ended. Returns, if it has committed, what is to be read once more behind it. */
  end(xid: number, committed: boolean): readonly Buffer[] {
    const own = this.#own.get(xid);
    this.#own.delete(xid);
    const newer: Buffer[] = [];
    for (const [oid, description] of committed ? (own ?? []) : []) {
      const common = this.#common.get(oid);
      if (common !== undefined && common.serial > description.serial) newer.push(common.message);
      else this.#common.set(oid, description);
    }
    if (this.#own.size === 0) this.#common.clear(); // nobody is left whose word is older
    return newer;
  }
}
