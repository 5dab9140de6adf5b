/**
 * What a server on this machine looks like to those who started it.
 */
export interface ServerExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** `fast`: open transactions are rolled back, a clean shutdown. `immediate`: as after a crash; recovery at the next start. */
export type StopMode = 'fast' | 'immediate';

export interface LocalServer {
  readonly pid: number;
  readonly port: number;
  readonly url: string;
  readonly logFile: string;
  /** Resolves when the process has ended, for whatever reason; never rejects. */
  readonly exited: Promise<ServerExit>;
  /** Resolves when the process has ended. Harsher signals follow when a deadline passes. Safe to call twice. */
  stop(mode?: StopMode): Promise<void>;
  /** SIGKILL to the main process only, as the kernel would at an out-of-memory. Await {@link exited} afterwards. */
  kill9(): void;
}

/** Told once about what an operator would be surprised to find (a system user made, binaries copied, a download). */
export type Notice = (line: string) => void;
