/** Two users' tasks in a FakeCoordinator, as far as tasks can come, and their requests for models, with a word of the owner's wherever a payload can be. */
import type { ClusterEvent } from "@openclaw-cluster/contract/events";
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import type { Task } from "@openclaw-cluster/contract/task";
import { lentModel } from "./fake-models.ts";
import type { FakeCoordinator } from "./fake-coordinator.ts";
import { TestSight } from "./model-sight.ts";

export const HERS = "t1" as TaskId;
export const HIS = "t2" as TaskId;
export const HER_REQUEST = "aaaaaaaa";

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

/** Two users' requests for models: a server has quoted each, and so does the refusal. */
export function plantedRequests(): TestSight {
  const sight = new TestSight([lentModel("qwen3:8b")]);
  for (const [id, user] of [
    [HER_REQUEST, "ann"],
    ["bbbbbbbb", "bob"],
  ] as const) {
    const notes = sight.note(id, { user });
    const [model] = sight.models;
    if (model !== undefined) notes.turn(model, 1);
    notes.failed("faulty", payloadOf(user), 2);
    notes.refused("node_lost", payloadOf(user), 3);
  }
  return sight;
}
