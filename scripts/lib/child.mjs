/**
 * Running the real program as a child and being transparent about it: its exit code, our signals.
 */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];
/** Ctrl-C reaches us from the terminal and once more from npm: within this time it is the same key press. */
const SAME_PRESS_MS = 400;
const PARENT_CHECK_MS = 1000;

/**
 * Resolves to the exit code of `program` (128 + number when a signal ended it). The child has a process group of its
 * own, so that a key press reaches it once, through us, and a channel to us by which it notices our death.
 */
export function forward(program, args, options) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      ...options,
      stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
      detached: true,
    });
    let last = -SAME_PRESS_MS;
    const pass = (signal) => {
      const now = performance.now();
      if (now - last < SAME_PRESS_MS) return;
      last = now;
      child.kill(signal);
    };
    for (const signal of SIGNALS) process.on(signal, pass);
    // The shell between npm and us may end of a signal without passing it on: then nobody waits for us any more.
    const parent = process.ppid;
    const underNpm = process.env.npm_lifecycle_event !== undefined;
    const orphaned = setInterval(() => {
      if (!underNpm || process.ppid === parent) return;
      clearInterval(orphaned);
      pass('SIGTERM');
    }, PARENT_CHECK_MS);
    orphaned.unref();
    const done = () => {
      clearInterval(orphaned);
      for (const signal of SIGNALS) process.off(signal, pass);
    };
    child.once('error', (error) => {
      done();
      reject(error);
    });
    child.once('exit', (code, signal) => {
      done();
      if (child.connected) child.disconnect();
      resolve(code ?? 128 + (constants.signals[signal ?? 'SIGKILL'] ?? 9));
    });
  });
}
