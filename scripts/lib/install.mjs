/**
 * Dependencies exactly as package-lock.json names them, and the Node.js among them.
 */
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { progress } from './progress.mjs';

/** Ends the program with this one sentence. */
export class Failure extends Error {}

const RUNTIME_MAJOR = 24;

/** Runs `npm ci` unless it has been run for this package-lock.json. @throws Failure */
export async function ensureDependencies(root) {
  const modules = join(root, 'node_modules');
  const stamp = join(modules, '.drover-stamp');
  const wanted = stampText(root);
  if (read(stamp) === wanted) return;
  if (existsSync(stamp) || !installedByHand(root)) {
    rmSync(stamp, { force: true });
    await npmCi(root);
  }
  writeFileSync(stamp, wanted);
}

/** node_modules that somebody's own `npm ci` made after the lock file was written. */
function installedByHand(root) {
  const installed = time(join(root, 'node_modules/.package-lock.json'));
  return (
    installed !== null && installed >= (time(join(root, 'package-lock.json')) ?? Number.POSITIVE_INFINITY)
  );
}

function stampText(root) {
  const lock = read(join(root, 'package-lock.json'));
  if (lock === null) throw new Failure('package-lock.json is missing: is this a whole clone?');
  return `${createHash('sha256').update(lock).digest('hex')} ${process.platform} ${process.arch}\n`;
}

async function npmCi(root) {
  const done = progress('installing dependencies (npm ci)');
  // Types, tests and Node.js itself are dependencies for development, PostgreSQL an optional one: whatever the user's npm settings say.
  const args = ['ci', '--include=dev', '--include=optional', '--no-audit', '--no-fund', '--loglevel=error'];
  const result = await npm(args, root);
  if (result.code !== 0) {
    done('failed');
    throw new Failure(explainNpm(result));
  }
  done('done');
}

/** The Node.js that package-lock.json names, by path. @throws Failure */
export async function ensureNode(root) {
  const node = join(root, 'node_modules/.bin/node');
  if (await runs(node)) return node;
  // npm runs a dependency's install script only when it is allowed to; ours fetches the program for this platform.
  const folder = join(root, 'node_modules/node');
  if (existsSync(join(folder, 'installArchSpecificPackage.js'))) {
    const done = progress(`installing Node.js ${RUNTIME_MAJOR}`);
    const result = await execute(process.execPath, ['installArchSpecificPackage.js'], folder);
    done(result.code === 0 ? 'done' : 'failed');
    linkProgram(node); // npm leaves it out when there was nothing to link to
    if (await runs(node)) return node;
    if (Number(process.versions.node.split('.')[0]) >= RUNTIME_MAJOR) return process.execPath;
    if (result.code !== 0) throw new Failure(explainNpm(result));
  }
  if (Number(process.versions.node.split('.')[0]) >= RUNTIME_MAJOR) return process.execPath;
  throw new Failure(
    `the Node.js ${RUNTIME_MAJOR} that came with the dependencies does not run on ${process.platform}-${process.arch}; ` +
      `install Node.js ${RUNTIME_MAJOR} and run this with it.`,
  );
}

function linkProgram(node) {
  try {
    rmSync(node, { force: true });
    symlinkSync('../node/bin/node', node);
  } catch {
    // then it does not run, which is what is reported
  }
}

function runs(node) {
  return new Promise((resolve) => {
    if (!existsSync(node)) return resolve(false);
    execFile(node, ['--version'], (error, stdout) =>
      resolve(error === null && Number(stdout.slice(1).split('.')[0]) >= RUNTIME_MAJOR),
    );
  });
}

/** npm as we were called by, else the one in PATH. */
function npm(args, cwd) {
  const script = process.env.npm_execpath;
  if (script?.endsWith('npm-cli.js') && existsSync(script)) {
    return execute(process.execPath, [script, ...args], cwd);
  }
  return execute('npm', args, cwd);
}

function execute(program, args, cwd) {
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const keep = (bytes) => {
      output = (output + bytes).slice(-64 * 1024);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    const stop = (signal) => child.kill(signal);
    process.on('SIGINT', stop).on('SIGTERM', stop);
    const end = (code, text) => {
      process.off('SIGINT', stop).off('SIGTERM', stop);
      resolve({ code, output: text });
    };
    child.once('error', (error) => end(-1, error.code === 'ENOENT' ? 'ENOENT npm' : error.message));
    child.once('close', (code, signal) => end(code ?? -1, signal === null ? output : `stopped by ${signal}`));
  });
}

/** One sentence of what npm said at length. */
export function explainNpm({ output }) {
  if (output === 'ENOENT npm') return 'npm was not found; install it together with Node.js.';
  if (output.startsWith('stopped by')) return `npm was ${output}.`;
  if (
    /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT)\b/.test(
      output,
    )
  ) {
    return 'the npm registry cannot be reached; check the network (or the proxy and registry in the npm configuration) and run this again.';
  }
  if (/\bENOSPC\b/.test(output)) return 'the disk is full: npm could not install the dependencies.';
  if (/\b(EACCES|EPERM|EROFS)\b/.test(output))
    return 'npm may not write to node_modules or its cache; check who owns them.';
  if (/can only install packages when your package\.json and package-lock\.json/.test(output)) {
    return 'package.json and package-lock.json do not fit together; run `npm install` and commit the lock file.';
  }
  const lines = output
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.includes('A complete log of this run'));
  return `npm could not install the dependencies:\n${lines.slice(-12).join('\n')}`;
}

function read(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

function time(path) {
  try {
    return statSync(path).mtimeMs;
  } catch {
    return null;
  }
}
