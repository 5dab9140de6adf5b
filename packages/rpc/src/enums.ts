/**
 * Enums of the wire as the words the rest of Drover uses, both ways. Each table names every word and every value: a new one on
 * either side does not compile until it stands here. A value of a newer peer that is not known here reads as undefined.
 */
import {
  ClusterState,
  Isolation,
  MoveKind,
  MoveOutcome,
  MoveStep,
  ReplicaState,
} from './gen/drover/v1/common_pb.js';
import { Feed, LedgerAction, LedgerStatus } from './gen/drover/v1/replication_pb.js';

export interface EnumCodec<Word extends string, Value extends number> {
  toProto(word: Word): Value;
  /** For words that come from elsewhere as any text: unspecified when it is none of them. */
  fromText(text: string | null | undefined): Value;
  /** undefined: unspecified or unknown. */
  toWord(value: Value): Word | undefined;
}

type Words<Value extends number> = Readonly<Record<string, Exclude<Value, 0>>>;

/** `Missing` is never unless a value of the enum has no word. */
function codec<Value extends number>() {
  return <const T extends Words<Value>>(
    words: T,
    ..._missing: Exclude<Value, 0 | T[keyof T]> extends never ? [] : [missing: Exclude<Value, 0 | T[keyof T]>]
  ): EnumCodec<keyof T & string, Value> => {
    const byValue = new Map<number, keyof T & string>(
      Object.entries(words).map(([word, value]) => [value, word]),
    );
    const byWord = new Map<string, number>(Object.entries(words));
    return {
      toProto: (word) => words[word] as unknown as Value, // T maps every word to a value of the enum
      fromText: (text) => (byWord.get(text ?? '') ?? 0) as Value, // 0 is the unspecified value of every proto3 enum
      toWord: (value) => byValue.get(value),
    };
  };
}

export const isolation = codec<Isolation>()({
  column: Isolation.COLUMN,
  schema: Isolation.SCHEMA,
  database: Isolation.DATABASE,
});

export const replicaState = codec<ReplicaState>()({
  copying: ReplicaState.COPYING,
  live: ReplicaState.LIVE,
  returning: ReplicaState.RETURNING,
});

export const moveKind = codec<MoveKind>()({ switchover: MoveKind.SWITCHOVER, failover: MoveKind.FAILOVER });

export const moveStep = codec<MoveStep>()({
  hold: MoveStep.HOLD,
  close: MoveStep.CLOSE,
  fence: MoveStep.FENCE,
  drain: MoveStep.DRAIN,
  open: MoveStep.OPEN,
  abort: MoveStep.ABORT,
});

export const moveOutcome = codec<MoveOutcome>()({ done: MoveOutcome.DONE, aborted: MoveOutcome.ABORTED });

export const clusterState = codec<ClusterState>()({
  up: ClusterState.UP,
  suspect: ClusterState.SUSPECT,
  dead: ClusterState.DEAD,
  unknown: ClusterState.UNKNOWN,
});

export const feed = codec<Feed>()({
  copying: Feed.COPYING,
  catchup: Feed.CATCHUP,
  live: Feed.LIVE,
  held: Feed.HELD,
  parked: Feed.PARKED,
});

export const ledgerStatus = codec<LedgerStatus>()({
  open: LedgerStatus.OPEN,
  retried: LedgerStatus.RETRIED,
  skipped: LedgerStatus.SKIPPED,
  resolved: LedgerStatus.RESOLVED,
});

export const ledgerAction = codec<LedgerAction>()({ retry: LedgerAction.RETRY, skip: LedgerAction.SKIP });
