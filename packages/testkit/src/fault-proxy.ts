/**
 * A TCP proxy that fails on demand, between a client and a server under test.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { type Fault, FaultPipe } from './fault-pipe.ts';

export type Direction = 'toServer' | 'toClient' | 'both';

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
  readonly toServer: FaultPipe;
  readonly toClient: FaultPipe;
}

export class FaultProxy {
  readonly host = '127.0.0.1';
  readonly port: number;
  #target: { host: string; port: number };
  readonly #pairs = new Set<Pair>();
  #listener: Server;
  #toServer: Fault = { kind: 'pass' };
  #toClient: Fault = { kind: 'pass' };
  /** Connections accepted so far. */
  accepted = 0;

  private constructor(listener: Server, target: { host: string; port: number }) {
    this.#listener = listener;
    this.#target = target;
    this.port = (listener.address() as AddressInfo).port;
    listener.on('connection', (client) => this.#accept(client));
  }

  static async start(target: { port: number; host?: string }): Promise<FaultProxy> {
    const listener = await listen(0);
    return new FaultProxy(listener, { host: target.host ?? '127.0.0.1', port: target.port });
  }

  /** Connections open now. */
  get open(): number {
    return this.#pairs.size;
  }

  /** Bytes that went through the connections open now. */
  get passed(): { toServer: number; toClient: number } {
    const sum = { toServer: 0, toClient: 0 };
    for (const pair of this.#pairs) {
      sum.toServer += pair.toServer.passed;
      sum.toClient += pair.toClient.passed;
    }
    return sum;
  }

  /** Later connections lead there: as a name or an address that is given to another server. */
  retarget(port: number): void {
    this.#target = { ...this.#target, port };
  }

  /** Applies to the connections open now and to later ones, until changed. */
  set(fault: Fault, direction: Direction = 'both'): void {
    if (direction !== 'toClient') this.#toServer = fault;
    if (direction !== 'toServer') this.#toClient = fault;
    for (const pair of this.#pairs) {
      if (direction !== 'toClient') pair.toServer.set(fault);
      if (direction !== 'toServer') pair.toClient.set(fault);
    }
  }

  pass(direction: Direction = 'both'): void {
    this.set({ kind: 'pass' }, direction);
  }

  /** New connections are accepted, yet hear nothing; open ones fall silent. What was sent arrives after {@link pass}. */
  blackhole(direction: Direction = 'both'): void {
    this.set({ kind: 'blackhole' }, direction);
  }

  delay(ms: number, direction: Direction = 'both'): void {
    this.set({ kind: 'delay', ms }, direction);
  }

  /** Resets (RST, both sides) the connections open now; later ones are not touched. */
  reset(): void {
    for (const pair of this.#pairs) this.#end(pair, true);
  }

  /** The next connection to pass `bytes` in that direction is reset there; then everything passes again. */
  resetAfter(bytes: number, direction: 'toServer' | 'toClient'): void {
    this.set({ kind: 'resetAfter', bytes }, direction);
  }

  /** Ends the open connections and refuses new ones (ECONNREFUSED), as when the server's machine has it stopped. */
  async drop(): Promise<void> {
    const closed = once(this.#listener, 'close');
    const wasListening = this.#listener.listening;
    this.#listener.close();
    for (const pair of this.#pairs) this.#end(pair, false);
    if (wasListening) await closed;
  }

  /** Listens again after {@link drop}, on the same port. */
  async restore(): Promise<void> {
    if (this.#listener.listening) return;
    this.#listener = await listen(this.port);
    this.#listener.on('connection', (client) => this.#accept(client));
  }

  async close(): Promise<void> {
    this.reset();
    await this.drop();
  }

  #accept(client: Socket): void {
    this.accepted++;
    const server = connect({ ...this.#target, noDelay: true, allowHalfOpen: true });
    client.setNoDelay(true);
    const reset = () => {
      this.pass();
      this.#end(pair, true);
    };
    const pair: Pair = {
      client,
      server,
      toServer: new FaultPipe(client, server, this.#toServer, reset),
      toClient: new FaultPipe(server, client, this.#toClient, reset),
    };
    this.#pairs.add(pair);
    for (const socket of [client, server]) {
      socket.on('error', () => this.#end(pair, true)); // one side's reset is passed on as a reset
      socket.on('close', () => {
        if (client.destroyed && server.destroyed) this.#end(pair, false);
      });
    }
  }

  #end(pair: Pair, reset: boolean): void {
    if (!this.#pairs.delete(pair)) return;
    pair.toServer.close();
    pair.toClient.close();
    for (const socket of [pair.client, pair.server]) {
      if (reset) socket.resetAndDestroy();
      else socket.destroy();
    }
  }
}

async function listen(port: number): Promise<Server> {
  const listener = createServer({ allowHalfOpen: true });
  listener.listen({ port, host: '127.0.0.1' });
  await once(listener, 'listening');
  return listener;
}
