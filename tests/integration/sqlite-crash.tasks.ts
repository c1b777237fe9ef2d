/** The tasks of the crash test, as the killed process writes them and the test expects them. */
import { create } from "../../cluster/src/core/settle.ts";
import type { TaskRecord } from "../../cluster/src/core/task.ts";

/** `last` is the last key of its batch: by it the test tells whether a batch is there in part. */
export function newTask(key: number, last: number): TaskRecord {
  return create(key, { kind: "echo", input: { value: { last, filler: "x".repeat(key % 700) } } }, "cli", key);
}

export function settled(task: TaskRecord): TaskRecord {
  return { ...task, state: "succeeded", reason: "done", seq: 2, endedAt: task.key, result: { of: task.key } };
}
