/** From the `[[transform]]` tables of drover.toml to rules. Every mistake is told with file, key and an example, all together. */
import { Faults } from '@drover/config/faults.ts';
import { nearest } from '@drover/config/values.ts';
import { describeFault } from '../expression/fault.ts';
import { parseExpression } from '../expression/parse.ts';
import { isTable, parseAction, type Table } from './parse-action.ts';
import type { Action, Rule, Stage } from './types.ts';

const KEYS = ['tables', 'tenants', 'tier', 'target', 'stage', 'where', 'actions'];
const STAGES: readonly string[] = ['publish', 'apply'];
const RULES_MAX = 500;
const ACTIONS_MAX = 200;

export interface ParseContext {
  readonly file: string;
  /** Names that `tier` and `target` may have; absent: not checked. */
  readonly tiers?: readonly string[];
  readonly clusters?: readonly string[];
}

/** `raw`: what stands under `transform` in the file. @throws DroverError `config.invalid` */
export function parseRules(raw: unknown, context: ParseContext): Rule[] {
  const faults = new Faults(context.file);
  if (raw === undefined) return [];
  if (!Array.isArray(raw)) faults.add('transform', 'must be a list of sections', '[[transform]]');
  const entries: readonly unknown[] = Array.isArray(raw) ? raw : [];
  if (entries.length > RULES_MAX)
    faults.add('transform', `${entries.length} are too many, ${RULES_MAX} at most`, 'fewer [[transform]]');
  const rules = entries.map((entry, i) => new RuleReader(entry, `transform[${i}]`, context, faults).read());
  faults.throwIfAny();
  return rules;
}

class RuleReader {
  readonly #raw: Table;
  readonly #at: string;
  readonly #context: ParseContext;
  readonly #faults: Faults;

  constructor(raw: unknown, at: string, context: ParseContext, faults: Faults) {
    if (!isTable(raw)) faults.add(at, 'must be a section', '[[transform]]');
    this.#raw = isTable(raw) ? raw : {};
    this.#at = at;
    this.#context = context;
    this.#faults = faults;
  }

  read(): Rule {
    this.#unknownKeys();
    const tables = this.#list('tables', 'tables = ["public.users"]');
    if (tables.length === 0 && Array.isArray(this.#raw['tables'] ?? []))
      this.#fault('tables', 'is missing: a rule names its tables', 'tables = ["public.users"]');
    for (const name of tables) {
      if (!/^[^.\s]+\.[^.\s]+$/.test(name))
        this.#fault('tables', `"${name}" is not schema.table`, 'tables = ["public.users", "audit.*"]');
    }
    const tier = this.#name('tier', this.#context.tiers, 'tier = "standard"');
    const target = this.#name('target', this.#context.clusters, 'target = "west"');
    const actions = this.#actions();
    const where = this.#where();
    if (isEmpty(this.#raw['actions']) && this.#raw['where'] === undefined)
      this.#fault('actions', 'is missing, and so is where: the rule does nothing', EXAMPLE);
    const stage = this.#stage(actions);
    if (stage === 'publish' && target !== undefined)
      this.#fault(
        'target',
        'one stream feeds all targets, so what is published cannot depend on the target',
        'stage = "apply"',
      );
    const tenants = this.#list('tenants', 'tenants = ["acme", "eu-*"]');
    return { at: this.#at, tables, tenants, tier, target, stage, where, actions };
  }

  /** Masks and drops hide something: they happen before it leaves the source unless the file says otherwise. */
  #stage(actions: readonly Action[]): Stage {
    const hides = actions.some(({ kind }) => kind === 'mask' || kind === 'drop');
    const given = this.#raw['stage'] ?? (hides ? 'publish' : 'apply');
    if (given === 'publish' || given === 'apply') return given;
    this.#fault('stage', `${JSON.stringify(given)} is not one of ${STAGES.join(', ')}`, 'stage = "publish"');
    return 'publish';
  }

  #actions(): Action[] {
    const raw = this.#raw['actions'] ?? [];
    if (!Array.isArray(raw) || raw.length > ACTIONS_MAX) {
      this.#fault('actions', `must be a list of at most ${ACTIONS_MAX} inline tables`, EXAMPLE);
      return [];
    }
    return raw
      .map((entry: unknown, i) => parseAction(entry, `${this.#at}.actions[${i}]`, this.#faults))
      .filter((action) => action !== undefined);
  }

  #where(): string | undefined {
    const raw = this.#raw['where'];
    if (raw === undefined) return undefined;
    const example = 'where = "status <> \'draft\' AND deleted_at IS NULL"';
    if (typeof raw !== 'string') {
      this.#fault('where', 'is not a text', example);
      return undefined;
    }
    const parsed = parseExpression(raw);
    if (!parsed.ok) this.#fault('where', describeFault(raw, parsed.fault), example);
    return raw;
  }

  #name(key: string, known: readonly string[] | undefined, example: string): string | undefined {
    const raw = this.#raw[key];
    if (raw === undefined) return undefined;
    if (typeof raw !== 'string' || raw === '') {
      this.#fault(key, `${JSON.stringify(raw)} is not a name`, example);
      return undefined;
    }
    if (known !== undefined && !known.includes(raw))
      this.#fault(
        key,
        `there is no ${key === 'tier' ? 'tier' : 'cluster'} "${raw}" (${known.join(', ')})`,
        example,
      );
    return raw;
  }

  #list(key: string, example: string): string[] {
    const raw = this.#raw[key] ?? [];
    if (Array.isArray(raw) && raw.every((v) => typeof v === 'string' && v !== '')) return raw.map(String);
    this.#fault(key, 'is not a list of texts', example);
    return [];
  }

  #unknownKeys(): void {
    for (const key of Object.keys(this.#raw)) {
      if (KEYS.includes(key)) continue;
      const near = nearest(key, KEYS);
      this.#fault(key, `unknown key${near === undefined ? '' : `, did you mean ${near}?`}`, EXAMPLE);
    }
  }

  #fault(key: string, wrong: string, example: string): void {
    this.#faults.add(`${this.#at}.${key}`, wrong, example);
  }
}

const EXAMPLE = 'actions = [{ drop = "ssn" }, { mask = "email", with = "hash" }]';

function isEmpty(list: unknown): boolean {
  return list === undefined || (Array.isArray(list) && list.length === 0);
}
