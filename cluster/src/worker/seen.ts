/**
 * Which attempts this worker has met, so that a doubled offer runs nothing (W1). Attempt numbers of a task only grow, so
 * one number a task is enough: the highest. Bounded by two generations; what falls out is not held here any more and
 * was met at least SEEN_MAX tasks ago, and no bus holds a message back for so long.
 */
import type { TaskId } from "@openclaw-cluster/contract/ids";
import type { AttemptRef } from "@openclaw-cluster/contract/wire";

const SEEN_MAX = 100_000;

export class Seen {
  private readonly held: () => Iterable<AttemptRef>;
  private readonly max: number;
  private young = new Map<TaskId, number>();
  private old = new Map<TaskId, number>();

  /** `held`: what must not be forgotten, however long ago it came. */
  constructor(held: () => Iterable<AttemptRef>, max = SEEN_MAX) {
    this.held = held;
    this.max = max;
  }

  /** The highest attempt of the task that was met; 0 for none. */
  last(task: TaskId): number {
    return this.young.get(task) ?? this.old.get(task) ?? 0;
  }

  /** `attempt` is higher than the last one. */
  note(task: TaskId, attempt: number): void {
    if (this.young.size >= this.max) {
      this.old = this.young;
      this.young = new Map();
      for (const held of this.held()) this.young.set(held.task, Math.max(held.attempt, this.last(held.task)));
    }
    this.young.set(task, attempt);
  }
}
