/**
 * Asks a server to cancel what one of its backends runs now. The server acts on the request before it closes the connection,
 * so a backend whose cancel connections have closed cannot be hit late (postmaster: SendCancelRequest, then exit).
 */
import { connect } from 'node:net';
import { cancelRequest } from '../protocol/builders.ts';
import type { Backend } from './backend.ts';

const CANCEL_TIMEOUT_MS = 5000;

export function cancelBackend(
  backend: Backend,
  target: { readonly host: string; readonly port: number },
): void {
  backend.cancels++;
  const socket = connect({ host: target.host, port: target.port });
  const timer = setTimeout(() => {
    backend.tainted = true;
    socket.destroy();
  }, CANCEL_TIMEOUT_MS);
  socket.on('error', () => {
    backend.tainted = true;
  });
  socket.on('close', () => {
    clearTimeout(timer);
    backend.cancels--;
    if (backend.cancels > 0) return;
    backend.onCancelsDone?.();
    backend.onCancelsDone = null;
  });
  socket.on('data', () => undefined);
  socket.end(cancelRequest(backend.pid, backend.secret));
}
