/** Messages of the extended protocol with another text or another name in them. Pure. */
import { closeStatement } from '../protocol/builders.ts';

/** SQL that fails with the given error, so that transaction state and the order of replies are the server's own. */
export function refusalSql(code: string, text: string): string {
  const literal = `'${text.replaceAll("'", "''").replaceAll('$', '')}'`;
  return `DO $drover$BEGIN RAISE EXCEPTION USING ERRCODE = '${code}', MESSAGE = ${literal}; END$drover$`;
}

/** A Parse for the unnamed statement with other SQL. @param textEnd of the text in `b`; parameter types follow up to `e` */
export function parseWithText(b: Buffer, textEnd: number, e: number, sql: string): Buffer {
  const text = Buffer.from(sql);
  const out = Buffer.allocUnsafe(5 + 1 + text.length + 1 + (e - textEnd - 1));
  out[0] = 0x50;
  out.writeUInt32BE(out.length - 1, 1);
  out[5] = 0;
  text.copy(out, 6);
  out[6 + text.length] = 0;
  b.copy(out, 7 + text.length, textEnd + 1, e);
  return out;
}

/** The head of the Bind at `p` with another statement's name; what follows the name, up to `e`, stays as it is. */
export function bindHead(
  b: Buffer,
  p: number,
  e: number,
  names: { readonly portalEnd: number; readonly nameEnd: number },
  serverName: string,
): Buffer {
  const portal = names.portalEnd - (p + 5) + 1;
  const head = Buffer.allocUnsafe(5 + portal + serverName.length + 1);
  head[0] = 0x42;
  head.writeUInt32BE(head.length - 1 + (e - names.nameEnd - 1), 1);
  b.copy(head, 5, p + 5, names.portalEnd + 1);
  head.write(serverName, 5 + portal, 'latin1');
  head[head.length - 1] = 0;
  return head;
}

export function describeStatement(serverName: string): Buffer {
  const message = closeStatement(serverName);
  message[0] = 0x44;
  return message;
}
