/** Plans for the source relations that blocks name, cached until a schema error says that they are old. */
import type { Relation } from '@drover/block';
import type { Board } from '../ddl/board.ts';
import { readKnown } from '../ddl/read-known.ts';
import { type Known, type RowPlace, resolve, versionOf } from '../ddl/versions.ts';
import type { Session } from './session.ts';
import { planTable, relationSignature, type TablePlan } from './table-plan.ts';
import { readTargetTable, readTargetTableByOid } from './target-table.ts';

/** Numbers of plans are never used twice: staging tables of an old plan are left to their session's end. */
let plans = 0;
const PLANS_MAX = 5000;

export class TargetCatalog {
  readonly #plans = new Map<string, TablePlan | null>();
  /** The same by the object that describes the table, which blocks share. */
  #byRelation = new WeakMap<Relation, Map<string, TablePlan | null>>();
  /** What was told of the source's tables, by OID there. */
  readonly #known = new Map<number, Known | null>();
  readonly #source: string;
  readonly #board: Board;
  #version: number;
  /** How many schema changes had been made when the plans were read (drover.ddl_epoch). */
  #epoch = '';

  constructor(source: string, board: Board) {
    this.#source = source;
    this.#board = board;
    this.#version = board.version;
  }

  /**
   * `place`: where a row of the relation stands; `text`: its values come as text. Null: the table is dropped, its rows go with it.
   * @throws DroverError `apply.schema`
   */
  async plan(
    session: Session,
    relation: Relation,
    place: () => RowPlace,
    text: boolean,
  ): Promise<TablePlan | null> {
    if (this.#version !== this.#board.version) {
      this.forget();
      this.#version = this.#board.version;
    }
    const known = await this.#knownOf(session, relation.oid);
    const version = known === null || known.versions.length === 0 ? 0 : versionOf(known, place());
    const form = text ? `${version}t` : String(version);
    const forms = this.#byRelation.get(relation) ?? new Map<string, TablePlan | null>();
    const found = forms.get(form);
    if (found !== undefined) return found;
    this.#byRelation.set(relation, forms);
    const signature = `${form}\u0000${relation.oid}\u0000${relationSignature(relation)}`;
    let plan = this.#plans.get(signature);
    if (plan === undefined) {
      plan = await this.#make(session, relation, known, { version, text });
      if (this.#plans.size >= PLANS_MAX) this.#plans.clear();
      this.#plans.set(signature, plan);
    }
    forms.set(form, plan);
    return plan;
  }

  get epoch(): string {
    return this.#epoch;
  }

  /** Of the transaction at hand: plans of another are forgotten. */
  enter(epoch: string): void {
    if (epoch === this.#epoch) return;
    this.forget();
    this.#epoch = epoch;
  }

  forget(): void {
    this.#plans.clear();
    this.#byRelation = new WeakMap();
    this.#known.clear();
  }

  async #make(
    session: Session,
    relation: Relation,
    known: Known | null,
    { version, text }: { version: number; text: boolean },
  ): Promise<TablePlan | null> {
    if (known !== null && known.shape === null) return null;
    if (known?.targetOid != null) {
      const target = await readTargetTableByOid(session, known.targetOid);
      if (target !== null)
        return planTable(++plans, relation, target, resolve(relation, target, known, version), text);
    }
    const target = await readTargetTable(session, relation.schema, relation.name);
    return planTable(++plans, relation, target, null, text);
  }

  async #knownOf(session: Session, oid: number): Promise<Known | null> {
    const known = this.#known.get(oid);
    if (known !== undefined) return known;
    const read = await readKnown(session, this.#source, oid);
    this.#known.set(oid, read);
    return read;
  }
}
