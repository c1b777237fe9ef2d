/**
 * How far ahead of its slots a node may be given work. A task of a tenth of a millisecond is over before the coordinator
 * has heard of it, so a node that is only ever given as many as it can run at once stands idle for most of the time.
 * Where a kind is known to be short there, its tasks may wait on the node itself instead of in the queue.
 *
 * W1. Only work that is cheap to take back is given ahead: one slot, no memory set aside, and free to run again when
 *     its node is lost.
 * W2. Work that runs longer than LONG_MS is never given ahead, and nothing is given ahead behind it (member.ts).
 */
import type { TaskKind, TaskSpec } from "@openclaw-cluster/contract/task-spec";

/** A window never exceeds this, so that a lost node costs few repeats; a node's own slots may. */
export const WINDOW_SLOTS_MAX = 1_024;
/** Tasks per slot: at 0.1 ms each this covers a round trip of 1.6 ms. */
export const LEAD_FACTOR_MAX = 16;
const SHORT_MS = 1;
const LONG_MS = 5;

/** Tasks per slot: all of LEAD_FACTOR_MAX for work of a millisecond or less, falling evenly to 1 at five. */
export function leadFactor(meanRunMs: number | undefined): number {
  if (meanRunMs === undefined || meanRunMs >= LONG_MS) return 1;
  if (meanRunMs <= SHORT_MS) return LEAD_FACTOR_MAX;
  return 1 + ((LONG_MS - meanRunMs) / (LONG_MS - SHORT_MS)) * (LEAD_FACTOR_MAX - 1);
}

export function windowOf(slots: number, factor: number): number {
  return Math.max(slots, Math.min(WINDOW_SLOTS_MAX, Math.floor(slots * factor)));
}

/** The slots that may be leased on a node for work that runs `meanRunMs` there; undefined when that is not known. */
export function windowSlots(slots: number, meanRunMs: number | undefined): number {
  return windowOf(slots, leadFactor(meanRunMs));
}

/** What to believe of a kind that a node has never run: a plain echo does nothing, and so is short from the first. */
export function presumedRunMs(kind: TaskKind): number | undefined {
  return kind === "echo" ? 0 : undefined;
}

/** W1. An echo that pretends to work says itself that it is not short. */
export function mayLead(spec: TaskSpec): boolean {
  if (spec.kind === "agent" || (spec.kind === "echo" && spec.input.delayMs)) return false;
  if (spec.onLost === "ask" || spec.onLost === "fail") return false;
  return spec.require === undefined || ((spec.require.slots ?? 1) === 1 && !spec.require.memoryMiB);
}
