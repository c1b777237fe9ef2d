/**
 * Effective priority: a task gains one level for every AGING_MS that it waits, so that nothing waits for ever behind a
 * steady stream of more urgent work.
 *
 * A1. LEVEL_MAX is above every priority that can be asked for; what has reached it is served fairly and then in order
 *     of age, so a fresh task never overtakes it.
 */
import type { TaskRecord } from "../task.ts";

/** From the bottom to the top in at most fifty minutes. */
export const AGING_MS = 300_000;
export const LEVEL_MAX = 10;

export function levelOf(task: Pick<TaskRecord, "priority" | "queuedAt">, now: number): number {
  const waitedMs = now - task.queuedAt;
  return waitedMs < AGING_MS ? task.priority : Math.min(LEVEL_MAX, Math.floor(task.priority + waitedMs / AGING_MS));
}
