/** Parameters (ParameterStatus) the client was told: on another backend it hears what differs there. Pure. */
import type { Backend } from '../pool/backend.ts';
import { parameterStatus } from '../protocol/builders.ts';

const NOTHING: readonly Buffer[] = [];

export class ToldParameters {
  #told: Map<string, string> = new Map();
  /** {@link Backend.parametersKey} of the backend it agrees with; '': of none. */
  #key = '';

  /** What the client is told at its login. */
  begin(parameters: Map<string, string>): void {
    this.#told = parameters;
  }

  /** Messages for what differs on this backend. */
  differences(backend: Backend): readonly Buffer[] {
    if (backend.parametersKey === this.#key) return NOTHING;
    this.#key = backend.parametersKey;
    const out: Buffer[] = [];
    for (const [name, value] of backend.parameters) {
      if (this.#told.get(name) === value) continue;
      this.#told.set(name, value);
      out.push(parameterStatus(name, value));
    }
    return out;
  }

  /** The server has told the client. */
  changed(parameter: { readonly name: string; readonly value: string }): void {
    this.#told.set(parameter.name, parameter.value);
    this.#key = '';
  }
}
