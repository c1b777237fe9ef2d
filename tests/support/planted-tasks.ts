/** Two users' tasks in a FakeCoordinator, as far as tasks can come, with a word of the owner's wherever a payload can be. */
import type { ClusterEvent } from "@openclaw-cluster/contract/events";
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import type { Task } from "@openclaw-cluster/contract/task";
import type { FakeCoordinator } from "./fake-coordinator.ts";

export const HERS = "t1" as TaskId;
export const HIS = "t2" as TaskId;

/** What stands in every payload of this user, and nowhere else. */
export const payloadOf = (user: string): string => `payload-of-${user}`;

/** Anew each time: whatever a request has done to them is undone. */
export function plantTasks(coordinator: FakeCoordinator): void {
  coordinator.tasks.clear();
  coordinator.kept = [];
  for (const [id, owner] of [
    [HERS, "ann"],
    [HIS, "bob"],
  ] as const) {
    const task = taskOf(id, owner);
    const { state, reason, seq, attempt, result, error, progress = {} } = task;
    coordinator.tasks.set(id, task);
    const text = payloadOf(owner);
    coordinator.output.set(id, [{ task: id, attempt: 1, n: 0, at: 1, stream: "stdout", text, last: true }]);
    const at = coordinator.kept.length;
    const events = [
      { id: at + 1, at: 1, type: "progress", task: id, owner, progress },
      { id: at + 2, at: 1, type: "task", task: id, owner, state, reason, seq, attempt, result, error },
    ] as ClusterEvent[];
    coordinator.kept.push(...events);
  }
}

/** More than a task can have at once: a progress, a result and an error. */
function taskOf(id: TaskId, owner: string): Task {
  const text = payloadOf(owner);
  return {
    ...{ id, kind: "echo", name: `${owner}'s`, owner, state: "failed", reason: "attempts_spent", seq: 4, attempt: 1, priority: 4 },
    ...{ node: "studio" as NodeId, createdAt: 1, startedAt: 2, endedAt: 3 },
    spec: { kind: "echo", input: { value: text }, dedupeKey: text },
    progress: { fraction: 0.5, text },
    result: { text },
    error: { code: "agent_failed", message: text, data: { stderr: text } },
  };
}
