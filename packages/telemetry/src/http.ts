/** The small HTTP server of a service: `/metrics`, `/livez`, `/readyz`. Answers while the service starts and stops. */
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { DroverError, describeError } from '@drover/core';

export interface SignalsServer {
  /** `http://host:port` */
  readonly url: string;
  close(): Promise<void>;
}

export interface SignalsOptions {
  /** Whose signals, for messages. */
  readonly name: string;
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly metrics: RequestListener;
  /** Null when ready, otherwise why not. */
  readonly ready: () => string | null;
  /** Told below `ok`, one a line: what works and will not for long. */
  readonly warnings?: () => readonly string[];
}

/** @throws DroverError `local.port_in_use`, `config.invalid` when the host is none of this machine */
export async function serveSignals(options: SignalsOptions): Promise<SignalsServer> {
  const server = createServer((request, response) => answer(options, request, response));
  await listen(server, options);
  server.unref(); // does not keep a process alive that has nothing else to do
  const { port } = server.address() as AddressInfo; // it listens on TCP
  const host = options.host.includes(':') ? `[${options.host}]` : options.host;
  return {
    url: `http://${host}:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function answer(options: SignalsOptions, request: IncomingMessage, response: ServerResponse): void {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    plain(response, 405, 'only GET');
    return;
  }
  const [path] = (request.url ?? '').split('?');
  if (path === '/metrics') {
    options.metrics(request, response);
  } else if (path === '/livez') {
    plain(response, 200, 'ok');
  } else if (path === '/readyz') {
    const why = whyNotReady(options.ready);
    const lines = [why ?? 'ok', ...(options.warnings?.() ?? []).map((warning) => `warning: ${warning}`)];
    plain(response, why === null ? 200 : 503, lines.join('\n'));
  } else {
    plain(response, 404, 'try /metrics, /livez or /readyz');
  }
}

function plain(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' });
  response.end(`${text}\n`);
}

function whyNotReady(ready: () => string | null): string | null {
  try {
    return ready();
  } catch (error) {
    return describeError(error);
  }
}

function listen(server: Server, { name, host, port }: SignalsOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE' || error.code === 'EACCES') {
        reject(
          new DroverError('local.port_in_use', `port ${port} for the metrics of ${name} cannot be used`, {
            hint: 'choose another [telemetry] port',
            cause: error,
          }),
        );
      } else {
        reject(
          new DroverError('config.invalid', `the metrics of ${name} cannot be served on ${host}:${port}`, {
            hint: 'correct [telemetry] host',
            cause: error,
          }),
        );
      }
    });
    server.listen(port, host, resolve);
  });
}
