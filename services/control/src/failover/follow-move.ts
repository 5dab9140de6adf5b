/** What a placement says about one move, as a caller that waits for it sees it. Pure. */
import type { Move, Placement } from '@drover/catalog';

export type MoveNews =
  | { readonly kind: 'step'; readonly step: Move['step'] }
  | { readonly kind: 'done' }
  | { readonly kind: 'aborted'; readonly error: string }
  /** The placement is older than the move, or the move is over and another has ended since. */
  | { readonly kind: 'absent' };

export function newsOf(placement: Placement, moveId: string): MoveNews {
  if (placement.move?.id === moveId) return { kind: 'step', step: placement.move.step };
  if (placement.lastMove?.id !== moveId) return { kind: 'absent' };
  if (placement.lastMove.outcome === 'done') return { kind: 'done' };
  return { kind: 'aborted', error: placement.lastMove.error ?? 'no reason on record' };
}
