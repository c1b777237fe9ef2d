/** Can a task have come from one state to another in so many changes? Asked of the declared table, because a commit shows only the last. */
import type { TaskState } from "@openclaw-cluster/contract/task";
import { TRANSITIONS } from "../../../cluster/src/core/task.ts";

const known = new Map<string, ReadonlySet<TaskState>>();

function after(state: TaskState, steps: number): ReadonlySet<TaskState> {
  if (steps === 0) return new Set([state]);
  const name = `${state} ${steps}`;
  let found = known.get(name);
  if (found === undefined) {
    const next = [...after(state, steps - 1)].flatMap((one) => Object.keys(TRANSITIONS[one]) as TaskState[]);
    known.set(name, (found = new Set(next)));
  }
  return found;
}

export function isReachable(from: TaskState, to: TaskState, steps: number): boolean {
  return steps >= 0 && after(from, steps).has(to);
}
