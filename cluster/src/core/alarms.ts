/**
 * What must happen to a task at a time: become due, time out, miss its deadline. One binary heap for the whole cluster
 * instead of a timer for each task, so that the coordinator sets a single timer and the simulation moves it by hand.
 *
 * A1. An alarm is a hint: `ring` looks at the record as it is then, so an alarm that lost its meaning does nothing.
 * A2. Nobody knows whether an attempt that was given up before it told of its start has begun all the same. Where a second
 *     run could do harm it counts as lost, not as refused (G5).
 */
import type { TaskError } from "@openclaw-cluster/contract/task";
import { ended, isHarmless, lose, type Settled } from "./settle.ts";
import { isTerminal, transition, type TaskRecord } from "./task.ts";

export class Alarms {
  // Two arrays, one heap: `times[i]` is when `keys[i]` rings.
  private readonly times: number[] = [];
  private readonly keys: number[] = [];

  /** Sets every alarm that the record needs in its present state. `fresh`: first seen, so its deadline is not set yet. */
  set(task: TaskRecord, fresh: boolean): void {
    const { deadline, timeouts } = task.spec;
    if (deadline !== undefined && fresh) this.add(deadline, task.key);
    if (task.state === "scheduled" && task.dueAt !== undefined) this.add(task.dueAt, task.key);
    if (task.state === "queued" && timeouts?.queueMs !== undefined) this.add(task.queuedAt + timeouts.queueMs, task.key);
    if (task.state === "leased" && timeouts?.startMs !== undefined && task.lease)
      this.add(task.lease.offeredAt + timeouts.startMs, task.key);
  }

  /** When the next one rings; undefined for none. */
  next(): number | undefined {
    return this.times[0];
  }

  /** Takes out the keys of all alarms up to `now`, at most `limit`. */
  due(now: number, limit: number): number[] {
    const keys: number[] = [];
    while (keys.length < limit && (this.times[0] ?? Infinity) <= now) keys.push(this.take());
    return keys;
  }

  private add(at: number, key: number): void {
    let child = this.times.length;
    this.times.push(at);
    this.keys.push(key);
    while (child > 0) {
      const parent = (child - 1) >> 1;
      if ((this.times[parent] as number) <= at) break;
      this.swap(child, parent);
      child = parent;
    }
  }

  private take(): number {
    const top = this.keys[0] as number;
    const lastTime = this.times.pop() as number;
    const lastKey = this.keys.pop() as number;
    if (this.times.length > 0) {
      this.times[0] = lastTime;
      this.keys[0] = lastKey;
      this.sink();
    }
    return top;
  }

  private sink(): void {
    let parent = 0;
    for (;;) {
      const left = 2 * parent + 1;
      const right = left + 1;
      if (left >= this.times.length) return;
      const least = right < this.times.length && (this.times[right] as number) < (this.times[left] as number) ? right : left;
      if ((this.times[parent] as number) <= (this.times[least] as number)) return;
      this.swap(parent, least);
      parent = least;
    }
  }

  private swap(a: number, b: number): void {
    [this.times[a], this.times[b]] = [this.times[b] as number, this.times[a] as number];
    [this.keys[a], this.keys[b]] = [this.keys[b] as number, this.keys[a] as number];
  }
}

/** What an alarm does to the record at `now`; undefined when it has lost its meaning (A1). */
export function ring(task: TaskRecord, now: number): Settled | undefined {
  if (isTerminal(task.state)) return undefined;
  const { deadline, timeouts } = task.spec;
  if (deadline !== undefined && now >= deadline && task.state !== "cancelling") {
    return failed(task, "deadline_passed", "deadline_passed", "It was not done by its deadline.", now);
  }
  if (task.state === "scheduled" && task.dueAt !== undefined && now >= task.dueAt) {
    const { dueAt: _due, ...rest } = task;
    return { task: transition(rest, "queued", task.attempt === 0 ? "due" : "backoff_over", { queuedAt: now }) };
  }
  if (task.state === "queued" && timeouts?.queueMs !== undefined && now >= task.queuedAt + timeouts.queueMs) {
    return failed(task, "queue_timeout", "queue_timeout", `No node took it within ${timeouts.queueMs} ms.`, now);
  }
  if (task.state === "leased" && timeouts?.startMs !== undefined && task.lease && now >= task.lease.offeredAt + timeouts.startMs) {
    return notStarted(task, now, { code: "start_timeout", message: `Not known to have started within ${timeouts.startMs} ms.` });
  }
  return undefined;
}

/** A2 */
function notStarted(task: TaskRecord, now: number, error: TaskError): Settled {
  if (isHarmless(task)) return { task: transition(task, "queued", "refused_by_node"), ended: ended(task, "refused", now, error) };
  const { task: next } = lose(task, now, false);
  return { task: next.error === undefined ? next : { ...next, error }, ended: ended(task, "lost", now, error) };
}

function failed(
  task: TaskRecord,
  reason: "deadline_passed" | "queue_timeout",
  code: TaskError["code"],
  message: string,
  now: number,
): Settled {
  const error = { code, message };
  const next = transition(task, "failed", reason, { error, endedAt: now });
  return task.lease === undefined ? { task: next } : { task: next, ended: ended(task, "failed", now, error) };
}
