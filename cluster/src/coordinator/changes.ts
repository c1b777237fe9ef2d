/** A person's change of one task, in a turn: alone, or as one of many. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { taskId } from "@openclaw-cluster/contract/ids";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import { isTerminal, type TaskRecord } from "../core/task.ts";
import type { State } from "./state.ts";

/** undefined: the present state does not allow it. */
export type Decide = (task: TaskRecord, now: number) => TaskRecord | undefined;

const RETRY_AFTER_MS = 1_000;

/** `stored`: as the store had it a moment ago. Gives the task as it is then, or why nothing was changed (P3). */
export function changeTask({ ledger, outgoing, clock }: State, stored: TaskRecord, decide: Decide): TaskRecord | ClusterError {
  const { key } = stored;
  const id = taskId(key);
  const task = ledger.latest(key) ?? stored;
  const isLive = ledger.get(key) !== undefined;
  // Between the read and the turn a live task may have ended; then the store's record is older than the truth.
  if (!isLive && !isTerminal(task.state)) return new ClusterError("state_conflict", `${id} has just ended.`);
  const next = decide(task, clock.wall());
  if (next === undefined) return new ClusterError("state_conflict", `${id} is ${task.state} (${task.reason}).`);
  if (isLive) ledger.write(task, { task: next });
  else if (ledger.size >= LIMITS.liveTasksMax) return overloaded(ledger.size);
  else ledger.revive(task, next);
  if (next.state === "cancelling" && next.lease !== undefined)
    outgoing.cancel(next.lease.node, { task: id, attempt: next.attempt, epoch: next.lease.epoch });
  return next;
}

/** What runs again counts as what is new. */
function overloaded(live: number): ClusterError {
  const detail = `${live} tasks are waiting or running; the limit is ${LIMITS.liveTasksMax}.`;
  return new ClusterError("overloaded", detail, { retryAfterMs: RETRY_AFTER_MS });
}
