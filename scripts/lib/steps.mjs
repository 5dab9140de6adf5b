/**
 * Running programs one after the other: one at a time, surely ended when we are told to end.
 */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';

/** After a signal a step has this long to end by itself, then its whole process group is killed. */
const GRACE_MS = 15_000;

export class Steps {
  #child = null;
  /** The signal that told us to end, or null. */
  stopped = null;

  constructor() {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => this.#stop(signal));
  }

  /** Resolves to the exit code; 128 + number when it was or we were stopped by a signal. */
  run(program, args, options = {}) {
    if (this.stopped !== null) return Promise.resolve(this.exitCode);
    return new Promise((resolve) => {
      const child = spawn(program, args, { stdio: 'inherit', ...options, detached: true });
      this.#child = child;
      const end = (code) => {
        this.#child = null;
        resolve(this.stopped === null ? code : this.exitCode);
      };
      child.once('error', (error) => {
        console.error(`drover: ${program} could not be started: ${error.message}`);
        end(1);
      });
      child.once('exit', (code, signal) => {
        killGroup(child.pid); // whatever it left in its group
        end(code ?? 128 + (constants.signals[signal ?? 'SIGKILL'] ?? 9));
      });
    });
  }

  get exitCode() {
    return this.stopped === null ? 0 : 128 + constants.signals[this.stopped];
  }

  #stop(signal) {
    const again = this.stopped !== null;
    this.stopped = signal;
    const child = this.#child;
    if (child === null) return;
    if (again) {
      killGroup(child.pid);
      return;
    }
    child.kill(signal);
    setTimeout(() => killGroup(child.pid), GRACE_MS).unref();
  }
}

function killGroup(pid) {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // nobody is left
  }
}
