/** TLS towards clients: after SSLRequest, or directly with ALPN `postgresql` (PostgreSQL 17 and newer clients). */
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls';
import { DroverError } from '@drover/core';
import { opened } from '../pool/connect.ts';
import { generateSelfSigned } from './certificate.ts';

export interface ServerTls {
  readonly context: SecureContext;
}

/** Larger records arrive late at clients that read in small pieces. */
const RECORD_BYTES = 8192;

/** @throws DroverError `config.invalid` when a file cannot be used. */
export function loadTls(options: {
  certFile: string | undefined;
  keyFile: string | undefined;
  names: readonly string[];
}): ServerTls {
  try {
    const { cert, key } =
      options.certFile === undefined || options.keyFile === undefined
        ? generateSelfSigned(options.names)
        : { cert: readFileSync(options.certFile, 'utf8'), key: readFileSync(options.keyFile, 'utf8') };
    return { context: createSecureContext({ cert, key, minVersion: 'TLSv1.2' }) };
  } catch (error) {
    throw new DroverError('config.invalid', 'the certificate of [proxy] cannot be used', {
      cause: error,
      hint: 'check cert_file and key_file, or leave both out for a self-signed one',
    });
  }
}

/** @throws when the handshake fails, or a direct connection did not ask for `postgresql`. */
export async function upgrade(
  socket: Socket,
  tls: ServerTls,
  direct: boolean,
  deadline: AbortSignal,
): Promise<TLSSocket> {
  const secure = new TLSSocket(socket, {
    isServer: true,
    secureContext: tls.context,
    ALPNProtocols: ['postgresql'],
  });
  await opened(secure, 'secure', deadline);
  if (direct && secure.alpnProtocol !== 'postgresql') {
    secure.destroy();
    throw new Error('direct TLS without ALPN postgresql');
  }
  secure.setMaxSendFragment(RECORD_BYTES);
  return secure;
}
