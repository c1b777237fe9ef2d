/** The tasks of the crash test, as the killed process writes them and the test expects them. */
import type { TaskRecord } from "../../cluster/src/core/task.ts";

/** `last` is the last key of its batch: by it the test tells whether a batch is there in part. */
export function newTask(key: number, last: number): TaskRecord {
  return {
    key,
    spec: { kind: "echo", input: { value: { last, filler: "x".repeat(key % 700) } } },
    priority: 4,
    owner: "cli",
    createdAt: key,
    state: "queued",
    reason: "submitted",
    seq: 1,
    attempt: 0,
    failures: 0,
    losses: 0,
    queuedAt: key,
    acted: false,
  };
}

export function settled(task: TaskRecord): TaskRecord {
  return { ...task, state: "succeeded", reason: "done", seq: 2, endedAt: task.key, result: { of: task.key } };
}
