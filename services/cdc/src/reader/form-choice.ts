/** In which form the source is read now, and what asks for another one; why there are two stands in `form.ts`. */
import { type Lsn, maxLsn } from '@drover/core';
import type { Queryable } from '@drover/pg';
import { type Form, isUnsendable, OtherForm, readForm } from './form.ts';
import type { Facts } from './source-facts.ts';

/** Looks at the forms of the tables' columns once in so many heartbeats. */
const BEATS_PER_LOOK = 20;

export class FormChoice {
  /** Values come in this form until this commit is confirmed; see {@link OtherForm}. */
  #fixed: OtherForm['fixed'] = null;
  #beats = 0;
  /** Rows came that have no binary form, whatever their tables are like by now. */
  #unsendable = false;

  /** Of the stream that begins. */
  of(facts: Facts): Form {
    return this.#fixed?.form ?? (this.#unsendable ? 'text' : facts.form);
  }

  /** True: what ended the stream asks for another form, or for none in particular any more. */
  learns(error: unknown): boolean {
    if (error instanceof OtherForm) {
      this.#fixed = error.fixed;
      return true;
    }
    if (!isUnsendable(error) || this.#unsendable) return false;
    this.#unsendable = true;
    return true;
  }

  /** What the stream holds a part of (`open`: their commits) goes on in the form in which it was cut. @throws OtherForm */
  require(form: Form, { record }: Facts, open: readonly Lsn[]): void {
    const cut = record?.form ?? null;
    if (cut === null || cut === form || open.length === 0) return;
    throw new OtherForm({ form: cut, until: open.reduce((a, b) => maxLsn(a, b)) });
  }

  /** Now and then, with a heartbeat: tables come and go. @throws OtherForm */
  async look(client: Queryable, form: Form, confirmed: Lsn): Promise<void> {
    if (this.#fixed !== null) {
      if (confirmed > this.#fixed.until) throw new OtherForm(null);
      return;
    }
    if (this.#unsendable || this.#beats++ % BEATS_PER_LOOK !== 0) return;
    if ((await readForm(client)) !== form) throw new OtherForm(null);
  }
}
