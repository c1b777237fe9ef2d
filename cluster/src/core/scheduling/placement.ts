/**
 * The scheduler's decision on one task, as it is kept with the task: small, because one is written for every task.
 * Names are left to the reader's side (why.ts turns it into an Explanation).
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Refusal, Term } from "@openclaw-cluster/contract/placement";
import type { Strategy } from "@openclaw-cluster/contract/task-spec";

/** [node, score, terms]; terms before their weights, rounded to two digits. */
export type Scored = readonly [node: NodeId, score: number, terms: Partial<Record<Term, number>>];
/** [node, code, what was missing]. */
export type Refused = readonly [node: NodeId, code: Refusal, detail: string];

export interface Placement {
  readonly node: NodeId;
  readonly strategy: Strategy;
  /** ms since 1970. */
  readonly at: number;
  /** Best first, at most CANDIDATES_KEPT. */
  readonly scored: readonly Scored[];
  /** At most REFUSED_KEPT; `refusedMore` counts the rest. */
  readonly refused: readonly Refused[];
  readonly refusedMore?: number;
}

/** A placement is written for every task: the best few and some of the rest say enough, and `why` of a waiting task names all. */
export const CANDIDATES_KEPT = 8;
export const REFUSED_KEPT = 16;
