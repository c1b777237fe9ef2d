/** From records, as the coordinator keeps them, to what a caller is shown. */
import { taskId } from "@openclaw-cluster/contract/ids";
import type { Attempt, Task } from "@openclaw-cluster/contract/task";
import { isTerminal, nodeOf, type TaskRecord } from "../core/task.ts";

export function toTask(task: TaskRecord): Task {
  const node = nodeOf(task);
  return {
    id: taskId(task.key),
    kind: task.spec.kind,
    ...(task.spec.name !== undefined && { name: task.spec.name }),
    ...(task.owner !== "" && { owner: task.owner }),
    state: task.state,
    reason: task.reason,
    seq: task.seq,
    attempt: task.attempt,
    ...(node !== undefined && { node }),
    priority: task.priority,
    ...(task.progress !== undefined && { progress: task.progress }),
    ...(task.result !== undefined && { result: task.result }),
    ...(task.resultBlob !== undefined && { resultBlob: task.resultBlob }),
    ...(task.error !== undefined && { error: task.error }),
    createdAt: task.createdAt,
    ...(task.startedAt !== undefined && { startedAt: task.startedAt }),
    ...(task.endedAt !== undefined && { endedAt: task.endedAt }),
    spec: task.spec,
  };
}

/**
 * The rows that the store keeps, and the attempt that only the record tells of: one that runs or succeeded. `isHeard`: its node
 * says that it lives; else nobody knows how the attempt stands.
 */
export function toAttempts(task: TaskRecord, rows: readonly Attempt[], isHeard: boolean): Attempt[] {
  const attempts = [...rows];
  if (task.attempt === 0 || rows.some((row) => row.n === task.attempt) || task.placement === undefined) return attempts;
  const over = isTerminal(task.state);
  attempts.push({
    n: task.attempt,
    node: task.placement.node,
    ...(task.lease !== undefined && { epoch: task.lease.epoch }),
    state: over ? "ended" : !isHeard ? "unknown" : task.state === "leased" ? "offered" : "running",
    ...(over && { outcome: task.state === "succeeded" ? ("succeeded" as const) : ("cancelled" as const) }),
    offeredAt: task.placement.at,
    ...(task.startedAt !== undefined && { startedAt: task.startedAt }),
    ...(task.endedAt !== undefined && { endedAt: task.endedAt }),
  });
  return attempts;
}
