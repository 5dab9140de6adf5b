/**
 * Reads a block back, record by record, into a visitor. Memory is bounded by the raw length the block declares, which
 * is refused above a cap before anything is allocated; whatever the bytes, the outcome is the records that were
 * written or a DroverError, never a crash. The tuples inside are passed on as they are: who slices them checks them.
 *
 * A damaged body can still have let the visitor see its first records: callers act on a block only after
 * {@link walkBlock} has returned. (The checksum makes that a matter of a writer's bug, not of the network.)
 */
import { DroverError, type Lsn, must } from '@drover/core';
import { decodeColumnar } from './columnar/decode.ts';
import { decodeWithProfile, type Profile } from './columnar/profile.ts';
import { Op, RAW_BYTES_MAX } from './format.ts';
import { corrupt, type Envelope, keyOfBlock, openEnvelope } from './header.ts';
import type { KnownRelations } from './known-relations.ts';
import type { KnownProfiles } from './named-profile.ts';
import { type Opener, sealed } from './seal/opener.ts';
import { decompressSnappy } from './snappy.ts';
import type { BlockHeader, BlockVisitor, Relation, RelationColumn } from './types.ts';
import { decompress } from './zstd.ts';

export interface WalkOptions {
  /** Refuse blocks that declare more raw bytes. Default {@link RAW_BYTES_MAX}. */
  readonly rawBytesMax?: number;
  /** For sealed blocks. Without it they are refused. */
  readonly opener?: Opener;
  /** For bodies by a profile. Without them they are refused. */
  readonly profiles?: KnownProfiles;
  /** Of blocks read before, so that the same description is the same object. */
  readonly relations?: KnownRelations;
}

/** @throws DroverError `block.corrupt`, `block.version`, `block.codec`, `block.sealed`, `block.profile`; whatever the visitor throws passes through. */
export function walkBlock(block: Buffer, visitor: BlockVisitor, options: WalkOptions = {}): BlockHeader {
  const envelope = openEnvelope(block);
  const cap = options.rawBytesMax ?? RAW_BYTES_MAX;
  if (envelope.rawBytes > cap) {
    throw corrupt('it declares more bytes than may be read', {
      rawBytes: envelope.rawBytes,
      rawBytesMax: cap,
    });
  }
  const stored = storedBody(block, envelope, options.opener);
  const profile = envelope.profile === null ? null : profileOf(envelope, keyOfBlock(block), options.profiles);
  new Walker(bodyOf(envelope, stored, profile), visitor, envelope.header, options.relations).run();
  return envelope.header;
}

/** As it was before it was sealed. */
function storedBody(block: Buffer, { header, mark, bodyStart }: Envelope, opener?: Opener): Buffer {
  if (mark === null) return block.subarray(bodyStart);
  if (opener === undefined) throw sealed(header.tenant, mark.keyId, 'this reader has no keys');
  return opener.open(header.tenant, mark, block, bodyStart);
}

function bodyOf({ encoding, rawBytes }: Envelope, stored: Buffer, profile: Profile | null): Buffer {
  switch (encoding) {
    case 'rows':
      return stored;
    case 'zstd':
      return decompress(stored, rawBytes);
    case 'snappy':
      return decompressSnappy(stored, rawBytes);
    case 'columns':
      return decodeColumnar(stored, rawBytes);
    case 'profile':
      return decodeWithProfile(stored, must(profile, 'its profile'), rawBytes);
  }
}

/** @throws DroverError `block.profile` */
function profileOf({ header, profile }: Envelope, key: string | null, profiles?: KnownProfiles): Profile {
  const { tenant } = header;
  const known = profile === null ? null : (profiles?.find(tenant, profile, key) ?? null);
  if (known !== null && known.check === profile?.check && known.model.tenant === tenant) return known;
  throw new DroverError(
    'block.profile',
    `a block of tenant ${tenant} needs the profile at ${profile?.seq}, which is not there, or not sealed as the block is`,
    { facts: { tenant, seq: profile?.seq }, hint: 'it has left the stream: copy the tenant anew' },
  );
}

const IDENTITIES: Readonly<Record<number, Relation['identity']>> = {
  100: 'd',
  110: 'n',
  102: 'f',
  105: 'i',
};

class Walker {
  readonly #bytes: Buffer;
  readonly #visitor: BlockVisitor;
  readonly #header: BlockHeader;
  readonly #known: KnownRelations | undefined;
  #at = 0;
  #relations = 0;
  #transactions = 0;
  #changes = 0;

  constructor(bytes: Buffer, visitor: BlockVisitor, header: BlockHeader, known: KnownRelations | undefined) {
    this.#bytes = bytes;
    this.#known = known;
    this.#visitor = visitor;
    this.#header = header;
  }

  run(): void {
    while (this.#at < this.#bytes.length) this.#record();
    if (this.#transactions !== this.#header.transactions || this.#changes !== this.#header.changes) {
      throw corrupt('its counts differ from its header', {
        transactions: this.#transactions,
        changes: this.#changes,
      });
    }
  }

  #record(): void {
    const op = this.#u8();
    switch (op) {
      case Op.insert:
      case Op.updateNewOnly:
      case Op.deleteOldKey:
      case Op.deleteOldRow:
        this.#single(op);
        return;
      case Op.updateOldKey:
      case Op.updateOldRow:
        this.#update(op === Op.updateOldKey ? 'K' : 'O');
        return;
      case Op.begin: {
        const at = this.#take(20);
        this.#transactions++;
        const lsn = this.#bytes.readBigUInt64BE(at) as Lsn;
        this.#visitor.begin(lsn, this.#bytes.readBigInt64BE(at + 8), this.#bytes.readUInt32BE(at + 16));
        return;
      }
      case Op.relation:
        this.#relation();
        return;
      case Op.truncate:
        this.#truncate();
        return;
      case Op.message: {
        const lsn = this.#bytes.readBigUInt64BE(this.#take(8)) as Lsn;
        const prefix = this.#text(this.#u8());
        const length = this.#u32();
        const start = this.#take(length);
        this.#visitor.message(lsn, prefix, this.#bytes.subarray(start, start + length));
        return;
      }
      default:
        throw corrupt('it holds a record of an unknown kind', { op, at: this.#at - 1 });
    }
  }

  #single(op: number): void {
    const relation = this.#relationIndex();
    const length = this.#u32();
    const start = this.#take(length);
    this.#changes++;
    if (op === Op.insert) this.#visitor.insert(relation, this.#bytes, start, start + length);
    else if (op === Op.updateNewOnly) {
      this.#visitor.update(relation, null, this.#bytes, 0, 0, start, start + length);
    } else {
      const kind = op === Op.deleteOldKey ? 'K' : 'O';
      this.#visitor.delete(relation, kind, this.#bytes, start, start + length);
    }
  }

  #update(kind: 'K' | 'O'): void {
    const relation = this.#relationIndex();
    const oldLength = this.#u32();
    const newLength = this.#u32();
    const start = this.#take(oldLength + newLength);
    const middle = start + oldLength;
    this.#changes++;
    this.#visitor.update(relation, kind, this.#bytes, start, middle, middle, middle + newLength);
  }

  #truncate(): void {
    const flags = this.#u8();
    const count = this.#u16();
    if (count * 2 > this.#bytes.length - this.#at) throw corrupt('a record is cut', { at: this.#at });
    const relations: number[] = [];
    for (let i = 0; i < count; i++) relations.push(this.#relationIndex());
    this.#changes++;
    this.#visitor.truncate(relations, flags);
  }

  #relation(): void {
    const from = this.#at;
    const oid = this.#u32();
    const known = this.#known?.find(oid, this.#bytes, from);
    if (known !== undefined) {
      this.#at = from + known.length;
      this.#visitor.relation(this.#relations++, known.relation);
      return;
    }
    const relation = this.#description(oid);
    this.#known?.keep(this.#bytes, from, this.#at, relation);
    this.#visitor.relation(this.#relations++, relation);
  }

  #description(oid: number): Relation {
    const identity = IDENTITIES[this.#u8()];
    if (identity === undefined) throw corrupt('a relation has an unknown replica identity', { oid });
    const schema = this.#text(this.#u16());
    const name = this.#text(this.#u16());
    const count = this.#u16();
    const columns: RelationColumn[] = [];
    for (let i = 0; i < count; i++) {
      const key = this.#u8() !== 0;
      const typeOid = this.#u32();
      const typmod = this.#bytes.readInt32BE(this.#take(4));
      columns.push({ name: this.#text(this.#u16()), typeOid, typmod, key });
    }
    return { oid, schema, name, identity, columns };
  }

  #relationIndex(): number {
    const index = this.#u16();
    if (index >= this.#relations) throw corrupt('a record names a relation before its definition', { index });
    return index;
  }

  #take(length: number): number {
    const start = this.#at;
    if (length > this.#bytes.length - start) throw corrupt('a record is cut', { at: start, length });
    this.#at = start + length;
    return start;
  }

  #u8(): number {
    return this.#bytes.readUInt8(this.#take(1));
  }

  #u16(): number {
    return this.#bytes.readUInt16BE(this.#take(2));
  }

  #u32(): number {
    return this.#bytes.readUInt32BE(this.#take(4));
  }

  #text(length: number): string {
    const start = this.#take(length);
    return this.#bytes.toString('utf8', start, start + length);
  }
}
