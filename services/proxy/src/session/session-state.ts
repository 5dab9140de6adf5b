/**
 * What a client's statements do to its session: settings that follow it from backend to backend once their transaction has
 * committed, and reasons why it must stay on the backend it has. Pure.
 */
import type { Backend } from '../pool/backend.ts';
import type { ClientStatements } from './client-statements.ts';
import type { Settings } from './settings.ts';
import type { Effect, PinReason, Verdict } from './statement-effects.ts';

export class SessionState {
  readonly settings: Settings;
  readonly #statements: ClientStatements;
  readonly #onPin: (reason: PinReason) => void;
  readonly #pins = new Set<PinReason>();
  /** Effects in a transaction that has not ended. */
  readonly #tentative: Effect[] = [];
  #rolledBack = false;
  #queryFailed = false;

  constructor(settings: Settings, statements: ClientStatements, onPin: (reason: PinReason) => void) {
    this.settings = settings;
    this.#statements = statements;
    this.#onPin = onPin;
  }

  get pinned(): boolean {
    return this.#pins.size > 0;
  }

  /** Why, for people. */
  get pins(): string {
    return [...this.#pins].join(', ');
  }

  /** A statement is sent. */
  note(verdict: Verdict, backend: Backend | null): void {
    if (verdict.refusal !== undefined) return;
    for (const reason of verdict.pins) this.#pin(reason, backend);
    if (backend !== null) {
      if (verdict.dirty) backend.dirty = true;
      if (verdict.taints) backend.tainted = true;
    }
    for (const effect of verdict.effects) {
      if (effect.kind !== 'deallocate') continue;
      if (effect.name !== null) this.#statements.forget(effect.name);
      else this.#statements.forgetAll();
    }
  }

  #pin(reason: PinReason, backend: Backend | null): void {
    if (this.#pins.has(reason)) return;
    this.#pins.add(reason);
    this.#onPin(reason);
    if (backend !== null) backend.tainted = true;
  }

  /** A command has completed; ROLLBACK is told apart. */
  completed(rollback: boolean): void {
    if (this.#tentative.length > 0) this.#rolledBack = rollback;
  }

  /** An Execute has completed. */
  executed(effects: readonly Effect[] | undefined): void {
    if (effects !== undefined) this.#tentative.push(...effects);
  }

  /** All statements of a Query are done with. */
  queried(effects: readonly Effect[] | undefined): void {
    if (effects !== undefined && !this.#queryFailed) this.#tentative.push(...effects);
    this.#queryFailed = false;
  }

  /** An error: what the transaction did to the settings is undone. */
  failed(inQuery: boolean): void {
    this.#tentative.length = 0;
    if (inQuery) this.#queryFailed = true;
  }

  forgetTentative(): void {
    this.#tentative.length = 0;
  }

  /** The transaction is over. */
  settle(backend: Backend | null): void {
    if (this.#tentative.length === 0) return;
    const effects = this.#tentative.splice(0);
    if (this.#rolledBack) {
      this.#rolledBack = false;
      return;
    }
    for (const effect of effects) {
      this.settings.apply(effect);
      if (effect.kind === 'discardAll') {
        this.#statements.forgetAll();
        this.#pins.clear();
        if (backend !== null) backend.tainted = true;
      } else if (effect.kind === 'resetAll' && backend !== null) backend.dirty = true;
    }
    if (backend === null || backend.dirty || backend.tainted) return;
    backend.settings = this.settings.signature;
  }
}
