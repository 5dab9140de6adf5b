/**
 * From an accepted socket to a logged-in session: encryption, protocol version, tenant, SCRAM. Whoever fails learns nothing: a wrong
 * password, an unknown user and an unknown tenant look and last the same.
 */
import { timingSafeEqual } from 'node:crypto';
import type { Socket } from 'node:net';
import type { Tenant } from '@drover/catalog';
import { FramingError } from '../protocol/assembler.ts';
import {
  AUTHENTICATION_OK,
  authenticationSasl,
  authenticationSaslContinue,
  authenticationSaslFinal,
  backendKeyData,
  errorResponse,
  negotiateProtocolVersion,
  parameterStatus,
  READY_IDLE,
  type WireError,
} from '../protocol/builders.ts';
import { mockVerifier, parseVerifier, SCRAM, ScramError, ScramServer } from '../protocol/scram.ts';
import { type FirstPacket, readFirstPacket } from '../protocol/startup.ts';
import { type ServerTls, upgrade } from '../tls/server-tls.ts';
import { Handshake } from './handshake.ts';
import { identify } from './identity.ts';
import type { Session } from './session.ts';
import { type Settings, Settings as SettingsClass, startupSettings } from './settings.ts';

/** Newest minor version of protocol 3 spoken. */
const MINOR = 2;
const LOGIN_TIMEOUT_MS = 15_000;

export interface LoginPorts {
  readonly tls: ServerTls | null;
  readonly tlsRequired: boolean;
  /** Keys the mock verifiers. */
  readonly secret: string;
  findTenant(name: string): Tenant | undefined;
  /** Database of the tenant's placement; undefined when it has none. */
  databaseOf(tenant: Tenant): string | undefined;
  /** What the tenant's clients begin with where they ask for nothing else. */
  settingsOf(tenant: Tenant): ReadonlyMap<string, string>;
  findSession(pid: number): Session | undefined;
  open(options: {
    socket: Socket;
    tenant: Tenant;
    settings: Settings;
    longKey: boolean;
  }): Session | WireError;
  authFailed(user: string): void;
}

/** A refusal told to the client. */
class Refused extends Error {
  readonly wire: WireError;
  constructor(code: string, message: string, hint?: string) {
    super(message);
    this.wire = { severity: 'FATAL', code, message, ...(hint === undefined ? {} : { hint }) };
  }
}

type Startup = Extract<FirstPacket, { kind: 'startup' }>;

/** Never rejects: what goes wrong ends this connection only. */
export async function serveClient(raw: Socket, ports: LoginPorts): Promise<void> {
  let socket = raw;
  try {
    const deadline = AbortSignal.timeout(LOGIN_TIMEOUT_MS);
    const begun = await begin(raw, ports, deadline);
    if (begun === null) return;
    socket = begun.shake.socket;
    await login(begun.shake, begun.startup, ports);
  } catch (error) {
    const wire =
      error instanceof Refused
        ? error.wire
        : error instanceof FramingError || error instanceof ScramError
          ? ({ severity: 'FATAL', code: '08P01', message: error.message } as const)
          : null;
    socket.on('error', () => undefined);
    if (wire === null || !socket.writable) socket.destroy();
    else {
      socket.end(errorResponse(wire));
      socket.destroySoon();
    }
  }
}

/** Up to the startup packet. @returns null when the connection was for something else. */
async function begin(
  raw: Socket,
  ports: LoginPorts,
  deadline: AbortSignal,
): Promise<{ shake: Handshake; startup: Startup } | null> {
  let shake = new Handshake(raw, deadline);
  let secure = false;
  let asked = 0;
  const first = await shake.take((bytes) => ({ value: bytes[0], length: 0 }));
  if (first === 0x16 && ports.tls !== null) {
    raw.pause();
    raw.unshift(shake.detach());
    shake = new Handshake(await upgrade(raw, ports.tls, true, deadline), deadline);
    secure = true;
  }
  for (;;) {
    const packet = await shake.take((bytes) => {
      const found = readFirstPacket(bytes);
      return found === null ? null : { value: found.packet, length: found.length };
    });
    switch (packet.kind) {
      case 'ssl':
        if (secure || ++asked > 2) throw new FramingError('unexpected SSLRequest');
        if (ports.tls === null) {
          shake.socket.write('N');
          break;
        }
        // Bytes behind the request would be taken as if they had come encrypted (CVE-2021-23214).
        if (shake.buffered > 0) throw new FramingError('received unencrypted data after SSL request');
        shake.socket.pause();
        shake.detach();
        raw.write('S');
        shake = new Handshake(await upgrade(raw, ports.tls, false, deadline), deadline);
        secure = true;
        break;
      case 'gss':
        if (secure || ++asked > 2) throw new FramingError('unexpected GSSENCRequest');
        shake.socket.write('N');
        break;
      case 'cancel': {
        shake.detach();
        const session = ports.findSession(packet.pid);
        if (
          session !== undefined &&
          session.secret.length === packet.secret.length &&
          timingSafeEqual(session.secret, packet.secret)
        ) {
          session.cancel();
        }
        shake.socket.on('error', () => undefined);
        shake.socket.destroySoon();
        return null;
      }
      case 'unsupported':
        throw new Refused(
          '0A000',
          `unsupported frontend protocol ${packet.major}.${packet.minor}: server supports 3.0 to 3.${MINOR}`,
        );
      case 'startup':
        if (ports.tlsRequired && !secure)
          throw new Refused(
            '28000',
            'this front door takes encrypted connections only',
            'Use sslmode=require.',
          );
        return { shake, startup: packet };
    }
  }
}

async function login(shake: Handshake, startup: Startup, ports: LoginPorts): Promise<void> {
  const { socket } = shake;
  const { parameters, minor } = startup;
  if (minor > MINOR || (minor > 0 && startup.protocolOptions.length > 0)) {
    socket.write(negotiateProtocolVersion(MINOR, startup.protocolOptions));
  }
  const user = parameters.get('user') ?? '';
  if (user === '') throw new Refused('28000', 'no PostgreSQL user name specified in startup packet');
  if (!/^(|false|off|no|0)$/i.test(parameters.get('replication') ?? '')) {
    throw new Refused('0A000', 'replication connections are not supported through the front door');
  }
  const wanted = startupSettings(parameters);
  if (wanted.kind === 'refused') throw new Refused(wanted.code, wanted.message);
  const database = parameters.get('database') ?? user;
  const found = identify(user, database, (name) => ports.findTenant(name));
  const verifier = found.kind === 'found' ? parseVerifier(found.identity.verifier) : null;
  const proven = await authenticate(shake, new ScramServer(verifier ?? mockVerifier(ports.secret, user)));
  if (!proven || found.kind !== 'found' || verifier === null) {
    ports.authFailed(user);
    if (found.kind === 'conflict')
      throw new Refused('28000', 'user name and database name belong to different tenants');
    throw new Refused('28P01', `password authentication failed for user "${user}"`);
  }
  const { tenant, prefixed } = found.identity;
  if (tenant.state !== 'active') throw new Refused('57P03', `tenant "${tenant.tenant}" is suspended`);
  const served = ports.databaseOf(tenant);
  if (
    prefixed &&
    database !== user &&
    database !== tenant.tenant &&
    served !== undefined &&
    database !== served
  ) {
    throw new Refused(
      '3D000',
      `database "${database}" does not exist`,
      `Tenant "${tenant.tenant}" lives in database "${served}".`,
    );
  }
  const session = ports.open({
    socket,
    tenant,
    settings: new SettingsClass(new Map([...ports.settingsOf(tenant), ...wanted.settings])),
    longKey: minor >= 2,
  });
  if (!('login' in session)) throw new Refused(session.code, session.message);
  const told = await new Promise<Map<string, string> | WireError>((resolve) => session.login(resolve));
  if (!(told instanceof Map)) {
    session.fatal(told);
    return;
  }
  const rest = shake.detach();
  session.start(told);
  socket.write(
    Buffer.concat([
      AUTHENTICATION_OK,
      ...[...told].map(([name, value]) => parameterStatus(name, value)),
      backendKeyData(session.pid, session.secret),
      READY_IDLE,
    ]),
  );
  if (rest.length > 0) session.onClientBytes(rest);
}

/** The SASL exchange. @returns whether the client proved that it knows the password. @throws ScramError */
async function authenticate(shake: Handshake, scram: ScramServer): Promise<boolean> {
  const { socket } = shake;
  socket.write(authenticationSasl([SCRAM]));
  const initial = await takePassword(shake);
  const nameEnd = initial.indexOf(0);
  if (nameEnd === -1 || initial.toString('latin1', 0, nameEnd) !== SCRAM)
    throw new ScramError('client selected an invalid SASL authentication mechanism');
  socket.write(authenticationSaslContinue(scram.first(initial.toString('utf8', nameEnd + 5))));
  const final = scram.final((await takePassword(shake)).toString('utf8'));
  if (final === null) return false;
  socket.write(authenticationSaslFinal(final));
  return true;
}

/** Body of one password message (`p`). */
function takePassword(shake: Handshake): Promise<Buffer> {
  return shake.take((bytes) => {
    if (bytes[0] !== 0x70) throw new FramingError('expected a password response');
    if (bytes.length < 5) return null;
    const size = bytes.readUInt32BE(1);
    if (size < 4 || size > 10_000) throw new FramingError('invalid length of a password response');
    return bytes.length < 1 + size ? null : { value: bytes.subarray(5, 1 + size), length: 1 + size };
  });
}
