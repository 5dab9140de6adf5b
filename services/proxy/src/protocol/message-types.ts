/** Type bytes of messages (PostgreSQL manual, "Message Formats"). One byte may mean another message in the other direction. */

/** From the client. */
export const FRONTEND = {
  query: 0x51,
  parse: 0x50,
  bind: 0x42,
  describe: 0x44,
  close: 0x43,
  execute: 0x45,
  sync: 0x53,
  flush: 0x48,
  functionCall: 0x46,
  terminate: 0x58,
  copyData: 0x64,
  copyDone: 0x63,
  copyFail: 0x66,
} as const;

/** From the server. */
export const BACKEND = {
  dataRow: 0x44,
  copyData: 0x64,
  parseComplete: 0x31,
  bindComplete: 0x32,
  closeComplete: 0x33,
  rowDescription: 0x54,
  noData: 0x6e,
  commandComplete: 0x43,
  portalSuspended: 0x73,
  emptyQuery: 0x49,
  copyIn: 0x47,
  copyOut: 0x48,
  parameterStatus: 0x53,
  notice: 0x4e,
  notification: 0x41,
  error: 0x45,
  ready: 0x5a,
} as const;
