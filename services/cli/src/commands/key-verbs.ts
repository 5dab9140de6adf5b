/** The verbs of sealing, as the `drover` command offers them. */
import type { Command } from 'commander';
import type { Output } from '../output/terminal.ts';
import { configOf } from './clusters.ts';
import { keyGenerate, keyList, keyRewrap, keyRotate, keyShred, tenantSeal } from './keys.ts';

type Verb = <A extends unknown[]>(
  command: Command,
  action: (
    out: Output,
    options: { readonly config?: string } & Record<string, unknown>,
    ...args: A
  ) => unknown,
) => Command;

export function keyVerbs(program: Command, tenant: Command, verb: Verb): void {
  verb(
    tenant.command('seal <tenant>').description('seal its blocks with a key of its own from now on'),
    (out, o, name: string) => tenantSeal(configOf(o.config), name, out),
  );
  const key = program.command('key').description('keys of sealed tenants');
  verb(
    key
      .command('rotate')
      .description('another key seals from now on; what the ones before have sealed stays readable')
      .option('--tenant <tenant>', 'of this tenant')
      .option('--all', 'of every sealed tenant'),
    (out, o) =>
      keyRotate(
        configOf(o.config),
        {
          tenant: typeof o['tenant'] === 'string' ? o['tenant'] : undefined,
          all: o['all'] === true,
        },
        out,
      ),
  );
  verb(key.command('list').description('tenants with keys, and the master keys they need'), (out, o) =>
    keyList(configOf(o.config), out),
  );
  verb(
    key
      .command('shred <tenant>')
      .description('remove all its keys for good: no sealed block of it can be opened any more')
      .option('--yes', 'really'),
    (out, o, name: string) => keyShred(configOf(o.config), name, o['yes'] === true, out),
  );
  verb(
    key.command('rewrap').description('keep all keys under the newest master key; blocks are not touched'),
    (out, o) => keyRewrap(configOf(o.config), out),
  );
  verb(
    key.command('generate').description('a line for [security] master_key: a master key of a new generation'),
    (out, o) => keyGenerate(configOf(o.config), out),
  );
}
