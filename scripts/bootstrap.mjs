/**
 * The first step of `npm start`, `npm test` and `npm run check`, from a fresh clone on: installs what package-lock.json
 * names, then goes on under the Node.js that came with it. Runs on Node 20, uses nothing but Node and npm.
 *
 *   node scripts/bootstrap.mjs start|test|check|install [arguments passed on]
 */
import { existsSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { forward } from './lib/child.mjs';
import { ensureDependencies, ensureNode, Failure } from './lib/install.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const NODE_MIN = 20;

const COMMANDS = {
  start: ['services/cli/src/main.ts', 'up'],
  test: ['scripts/test.mjs'],
  check: ['scripts/check.mjs'],
  install: null,
};

async function main() {
  const [command = '', ...args] = process.argv.slice(2);
  if (!(command in COMMANDS)) {
    throw new Failure(`usage: node scripts/bootstrap.mjs ${Object.keys(COMMANDS).join('|')} [arguments]`);
  }
  const major = Number(process.versions.node.split('.')[0]);
  if (major < NODE_MIN)
    throw new Failure(`Node.js ${NODE_MIN} or newer is needed, this is ${process.versions.node}.`);
  if (process.platform === 'win32') throw new Failure('Windows is not supported; run this inside WSL.');
  await ensureDependencies(root);
  const node = await ensureNode(root);
  const program = COMMANDS[command];
  if (program === null) return 0;
  if (!existsSync(join(root, program[0])))
    throw new Failure(`${program[0]} is missing: is this a whole clone?`);
  return forward(node, ['--import', join(root, 'scripts/lib/end-with-parent.mjs'), ...program, ...args], {
    cwd: root,
    env: { ...process.env, PATH: join(root, 'node_modules/.bin') + delimiter + (process.env.PATH ?? '') },
  });
}

main().then(
  (code) => {
    process.exitCode = code;
  },
  (error) => {
    console.error(error instanceof Failure ? `drover: ${error.message}` : error);
    process.exitCode = 1;
  },
);
