/** The mistakes of one configuration, collected so that all are told at once. */
import { DroverError } from '@drover/core';

export interface Fault {
  /** Where, e.g. `clusters[1].port`. */
  readonly key: string;
  /** What is wrong. Never the value of a secret. */
  readonly wrong: string;
  /** What would be right, as it stands in the file. */
  readonly example: string;
}

export class Faults {
  readonly #file: string;
  readonly #found: Fault[] = [];

  constructor(file: string) {
    this.#file = file;
  }

  add(key: string, wrong: string, example: string): void {
    this.#found.push({ key, wrong, example });
  }

  /** @throws DroverError `config.invalid` with one line for each mistake; `facts.faults` lists them for programs. */
  throwIfAny(): void {
    if (this.#found.length === 0) return;
    const lines = this.#found.map(
      ({ key, wrong, example }) => `${this.#file}: ${key}: ${wrong}; for example ${example}`,
    );
    throw new DroverError('config.invalid', lines.join('\n'), {
      hint: '`drover init` writes a commented example',
      facts: { file: this.#file, faults: this.#found },
    });
  }
}
