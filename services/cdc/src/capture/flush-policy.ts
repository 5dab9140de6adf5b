/**
 * When a lane's open blocks are published. Idle: at once, at the end of the read. Busy: clocked by acknowledgements, so that
 * a slow bus makes larger groups instead of a longer queue. Catching up: in groups large enough that blocks are worth what they cost,
 * however many tenants share them. Pure.
 */
export interface LaneLoad {
  /** Raw bytes waiting to be published; 0: nothing to do. */
  readonly waitingBytes: number;
  /** Raw bytes of the largest open block. */
  readonly largestBytes: number;
  /** Published groups that are not acknowledged. */
  readonly inFlightGroups: number;
  /** A barrier or an epoch waits: others wait for it. */
  readonly urgent: boolean;
  /** Monotonic milliseconds at which the oldest waiting change came. */
  readonly oldestAtMs: number;
  /** The last read filled its buffer: more is coming. */
  readonly behind: boolean;
  /** Open and finished blocks that wait. */
  readonly blocks: number;
  /** When the reader last published anything, in any lane; monotonic milliseconds. */
  readonly publishedAtMs: number;
  /** Of what was read since the oldest waiting change came, in all lanes, this lane's share if all were alike. */
  readonly readBytes: number;
  /** For so long the source has had something newer than what was read. */
  readonly behindMs: number;
}

export interface FlushLimits {
  readonly blockBytes: number;
  readonly flushMs: number;
  /** What a lane may collect of what may be held. */
  readonly laneBytes: number;
}

/** 'flush', or how many milliseconds until age alone may change the answer; Infinity: only an event can. */
export type FlushAnswer = 'flush' | number;

/** A lane that carries many small tenants is flushed when their sum is this many blocks. */
const LANE_BLOCKS = 4;
/** Each block costs about as much as so many bytes of rows (zstd's start, a message, its headers): catching up, smaller ones are not worth it. */
const WORTH_BYTES = 64 * 1024;
/** Behind by less than this is no catching up: a pause of the garbage collector, a busy neighbour. */
const BEHIND_MS = 100;
const COLLECT_MS_MAX = 1000;
/**
 * Groups are no closer together than this. What comes seldom goes at once; of thousands of small transactions a second several share a group,
 * a write to the bus and a batch at the replica, each of which costs more than the rows in it.
 */
const SPACING_MS = 2;

/** `behindMs`: for so long the source has had something newer than what was read. */
export function isCatchingUp(behindMs: number): boolean {
  return behindMs >= BEHIND_MS;
}

export function decideFlush(load: LaneLoad, limits: FlushLimits, nowMs: number): FlushAnswer {
  if (load.waitingBytes === 0) return Number.POSITIVE_INFINITY;
  if (load.urgent) return 'flush';
  const catchingUp = isCatchingUp(load.behindMs);
  const worth = catchingUp ? Math.min(limits.laneBytes, load.blocks * WORTH_BYTES) : 0;
  const ageMs = nowMs - load.oldestAtMs;
  const enough = Math.max(worth, LANE_BLOCKS * limits.blockBytes);
  if (load.largestBytes >= limits.blockBytes || load.waitingBytes >= enough) return 'flush';
  // Behind for one tenant's sake: the few blocks of the others cost little beside what is read of that one.
  if (catchingUp && load.inFlightGroups < 2 && ageMs >= limits.flushMs && load.readBytes >= worth)
    return 'flush';
  if (load.inFlightGroups === 0 && !load.behind && !catchingUp) {
    const freeMs = load.publishedAtMs + SPACING_MS - nowMs;
    return freeMs <= 0 ? 'flush' : freeMs;
  }
  // Two groups in flight keep the bus busy; a third would only cut blocks smaller.
  if (load.inFlightGroups >= 2) return Number.POSITIVE_INFINITY;
  // Whoever is behind already does not notice half as much again.
  const patienceMs = catchingUp ? Math.min(COLLECT_MS_MAX, load.behindMs / 2) : 0;
  const dueMs = load.oldestAtMs + Math.max(limits.flushMs, patienceMs) - nowMs;
  return dueMs <= 0 ? 'flush' : dueMs;
}

/** Reading pauses above the bound and goes on at half. While nothing is in flight no acknowledgement could resume it. */
export function decidePause(
  state: { readonly paused: boolean; readonly heldBytes: number; readonly inFlightBytes: number },
  boundBytes: number,
): boolean {
  if (state.inFlightBytes === 0) return false;
  return state.paused ? state.heldBytes > boundBytes / 2 : state.heldBytes > boundBytes;
}
