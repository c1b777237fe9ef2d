/**
 * How far ahead of its slots a node may be given work. A task of a tenth of a millisecond is over before the coordinator
 * has heard of it, so a node that is only ever given as many as it can run at once stands idle for most of the time.
 * Where a kind is known to be short there, its tasks may wait on the node itself instead of in the queue.
 *
 * W1. Only work that is cheap to take back is given ahead: one slot, no memory set aside, and free to run again when
 *     its node is lost. The node itself hands back what waits there for too long (slots.ts in worker/).
 * W2. What is given ahead is expected to start within LEAD_MS, and nothing is given ahead behind work that is not short
 *     (member.ts).
 */
import type { TaskKind, TaskSpec } from "@openclaw-cluster/contract/task-spec";

/** A window never exceeds this, so that a lost node costs few repeats; a node's own slots may. */
export const WINDOW_SLOTS_MAX = 4_096;
/**
 * Tasks per slot. What finds no place in a window costs the store one more write when it gets one, so in bulk a wide one
 * pays: 64 instead of 16 took a fifth off the coordinator's processor time.
 */
export const LEAD_FACTOR_MAX = 64;
const LEAD_MS = 16;

/** Tasks per slot: as many as one slot works off in LEAD_MS. */
export function leadFactor(meanRunMs: number | undefined): number {
  if (meanRunMs === undefined) return 1;
  return Math.min(LEAD_FACTOR_MAX, Math.max(1, LEAD_MS / meanRunMs));
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

/** W1. An echo that pretends to work says itself that it is not short; of a model the next answer may take a thousand times the last one's. */
export function mayLead(spec: TaskSpec): boolean {
  if (spec.kind === "agent" || spec.kind === "model" || (spec.kind === "echo" && spec.input.delayMs)) return false;
  if (spec.onLost === "ask" || spec.onLost === "fail") return false;
  return spec.require === undefined || ((spec.require.slots ?? 1) === 1 && !spec.require.memoryMiB);
}
