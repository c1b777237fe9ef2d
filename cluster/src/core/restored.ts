/**
 * What becomes of a task that was open in a backup when that is restored. The world went on meanwhile: the task may have
 * run, may run still, or may have ended, and nobody tells.
 *
 * R1. Its attempts from before are over: none of them may report any more.
 * R2. What may not run a second time by itself (L4 in settle.ts) does not, unless it is known to have stayed untouched.
 * R3. Its next attempt has a number that was never given, though the backup does not know which were.
 */
import type { TaskError } from "@openclaw-cluster/contract/task";
import { onLostOf } from "./retry.ts";
import { lose, type Settled } from "./settle.ts";
import { transition, type TaskRecord } from "./task.ts";

/** `attempt`: the greatest number that may have been given since. `untouched`: it is known that none was. */
export interface Since {
  readonly attempt: number;
  readonly untouched: boolean;
}

export type Fate = "again" | "asks" | "fails";

export function restored(task: TaskRecord, since: Since, now: number): Settled {
  const { task: next, ended } = decide(task, since, now);
  const attempt = Math.max(next.attempt, since.attempt);
  if (attempt === next.attempt) return { task: next, ...(ended && { ended }) };
  // Nothing is known of the attempt that the record would now name, so that it must not show the last one's placement.
  const { placement: _placement, ...rest } = next;
  return { task: { ...rest, attempt }, ...(ended && { ended }) };
}

/** In a word, for people. */
export function fateOf({ state }: TaskRecord): Fate {
  switch (state) {
    case "waiting":
      return "asks";
    case "failed":
    case "cancelled":
    case "succeeded":
      return "fails";
    default:
      return "again";
  }
}

function decide(task: TaskRecord, { untouched }: Since, now: number): Settled {
  // Nobody can say any more whether a turn has acted since.
  const known = task.spec.kind === "agent" && !untouched ? { ...task, acted: true } : task;
  if (task.lease !== undefined) return lose(known, now, false);
  if (untouched || (task.state !== "queued" && task.state !== "scheduled")) return { task };
  const error: TaskError = {
    code: "node_lost",
    message: "It was open in a backup that was restored; whether it has run since is unknown.",
  };
  switch (onLostOf(known)) {
    case "retry":
      return { task };
    case "ask":
      return { task: transition(known, "waiting", "asked", { error }) };
    case "fail":
      return { task: transition(known, "failed", "outcome_unknown", { error, endedAt: now }) };
  }
}
