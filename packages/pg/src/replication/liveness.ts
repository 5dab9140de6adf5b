/**
 * When a silent walsender is dead, as pure functions.
 *
 * The server sends a keepalive of its own only when *we* were silent for half of wal_sender_timeout, which never happens:
 * we report more often. So silence is broken by asking: each status after a silent interval requests a reply. That
 * works whatever wal_sender_timeout is, also 0 (off), and on a database nobody writes to.
 */

const STATUS_INTERVAL_MS_MAX = 10_000;
const STATUS_INTERVAL_MS_MIN = 10;
/** Bound of silence where the server has none: generous, because such servers are often the slow ones. */
const PEER_TIMEOUT_MS_WITHOUT_SERVERS = 60_000;

/** How often status is sent: a third of the server's patience, and at least every 10 s. */
export function statusIntervalMs(walSenderTimeoutMs: number): number {
  if (walSenderTimeoutMs === 0) return STATUS_INTERVAL_MS_MAX;
  return Math.max(STATUS_INTERVAL_MS_MIN, Math.min(STATUS_INTERVAL_MS_MAX, walSenderTimeoutMs / 3));
}

export function peerTimeoutMs(walSenderTimeoutMs: number): number {
  return walSenderTimeoutMs === 0 ? PEER_TIMEOUT_MS_WITHOUT_SERVERS : walSenderTimeoutMs * 1.5;
}

export interface PeerObservation {
  readonly nowMs: number;
  /** When the last look was taken, and how far apart looks are meant to be. */
  readonly lastLookMs: number;
  readonly lookIntervalMs: number;
  /** Since when we have been listening; null while paused: then silence is our own doing. */
  readonly listeningSinceMs: number | null;
  readonly lastReceivedMs: number;
  readonly peerTimeoutMs: number;
}

/**
 * alive: heard of lately; silent: ask for a sign of life; dead: asked long enough; not_listening: no judgement while
 * paused; stalled: this process itself did not run for a while (stopped, or busy), answers may lie in the socket unread: the
 * caller restarts the clock.
 */
export type PeerVerdict = 'alive' | 'silent' | 'dead' | 'not_listening' | 'stalled';

export function judgePeer(seen: PeerObservation): PeerVerdict {
  if (seen.listeningSinceMs === null) return 'not_listening';
  if (seen.nowMs - seen.lastLookMs > 2 * seen.lookIntervalMs) return 'stalled';
  const silentForMs = seen.nowMs - Math.max(seen.lastReceivedMs, seen.listeningSinceMs);
  if (silentForMs >= seen.peerTimeoutMs) return 'dead';
  return silentForMs >= seen.lookIntervalMs / 2 ? 'silent' : 'alive';
}
