/**
 * What becomes of a task when something happens to it: pure decisions, carried out by the coordinator. Each function
 * takes the record as it is and gives the record as it will be; none of them looks at a clock.
 *
 * L1. A result counts only for the lease it was run under: same attempt, same epoch (`holds`).
 * L2. Once cancelling, a task ends cancelled, whatever its attempt brings home.
 * L3. Losing a node does not spend a retry; it has a limit of its own. A daemon that stops in good order spends neither:
 *     each such stop is a person's doing, or their service manager's, and ends in a report that nothing goes on.
 * L4. A turn that has acted, or a task whose owner said so, never runs a second time by itself.
 */
import { LIMITS } from "@openclaw-cluster/contract/limits";
import type { Attempt, Progress, TaskError } from "@openclaw-cluster/contract/task";
import { priorityNumber, type OnLost, type TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { AttemptRef, Finished, Outcome } from "@openclaw-cluster/contract/wire";
import { backoffMs, mayRetry } from "./retry.ts";
import type { Placement } from "./scheduling/placement.ts";
import { isTerminal, transition, type TaskRecord } from "./task.ts";

/** A record, and the attempt that ended badly with the change. (A success needs no row of its own: the record tells it.) */
export interface Settled {
  readonly task: TaskRecord;
  readonly ended?: Attempt;
}

export function create(key: number, spec: TaskSpec, owner: string, now: number): TaskRecord {
  const common = {
    key,
    spec,
    owner,
    priority: priorityNumber(spec.priority),
    createdAt: now,
    seq: 1,
    attempt: 0,
    failures: 0,
    losses: 0,
    acted: false,
  };
  if (spec.runAt !== undefined && spec.runAt > now) {
    return { ...common, state: "scheduled", reason: "delayed", queuedAt: spec.runAt, dueAt: spec.runAt };
  }
  return { ...common, state: "queued", reason: "submitted", queuedAt: now };
}

export function lease(task: TaskRecord, placement: Placement, epoch: number, now: number): TaskRecord {
  return transition(task, "leased", "placed", {
    attempt: task.attempt + 1,
    acted: false,
    placement,
    lease: { node: placement.node, epoch, offeredAt: now },
    // What an earlier attempt left behind is told by its own row.
    startedAt: undefined,
    progress: undefined,
    error: undefined,
  });
}

export function holds(task: TaskRecord, ref: AttemptRef): boolean {
  return task.lease !== undefined && task.attempt === ref.attempt && task.lease.epoch === ref.epoch;
}

export function start(task: TaskRecord, at: number): TaskRecord {
  if (task.state !== "leased" || task.lease === undefined) return task;
  return transition(task, "running", "started", { startedAt: at, lease: { ...task.lease, startedAt: at } });
}

/** News of a running attempt. Not a change of state; `acted` must be kept at once, for L4. */
export function report(task: TaskRecord, news: { progress?: Progress; acted?: boolean }): TaskRecord {
  const { progress = task.progress } = news;
  const next = { ...task, acted: task.acted || (news.acted ?? false) };
  return progress === undefined ? next : { ...next, progress };
}

export function settle(task: TaskRecord, finished: Finished, now: number, random: number): Settled {
  const known = finished.acted === true && !task.acted ? { ...task, acted: true } : task;
  if (known.state === "cancelling") return { task: transition(known, "cancelled", "cancel_confirmed", { endedAt: now }) };
  const { outcome } = finished;
  switch (outcome.kind) {
    case "succeeded":
      return { task: succeed(known, outcome, finished.startedAt, now) };
    case "failed":
      return fail(known, outcome.error, outcome.retryAfterMs, finished, now, random);
    case "refused":
      return {
        task: transition(known, "queued", "refused_by_node", { queuedAt: known.queuedAt }),
        ended: ended(known, "refused", now, outcome.error),
      };
    case "cancelled":
      // Nobody here asked for it.
      return outcome.cause === "shutdown"
        ? interrupt(known, now, finished.startedAt === undefined)
        : lose(known, now, finished.startedAt === undefined);
  }
}

function succeed(
  task: TaskRecord,
  outcome: Extract<Outcome, { kind: "succeeded" }>,
  startedAt: number | undefined,
  now: number,
): TaskRecord {
  return transition(task, "succeeded", "done", {
    endedAt: now,
    ...(startedAt !== undefined && { startedAt }),
    ...(outcome.result !== undefined && { result: outcome.result }),
    ...(outcome.blob !== undefined && { resultBlob: outcome.blob }),
  });
}

function fail(
  task: TaskRecord,
  error: TaskError,
  retryAfterMs: number | undefined,
  finished: Finished,
  now: number,
  random: number,
): Settled {
  const failures = task.failures + 1;
  const startedAt = finished.startedAt ?? task.startedAt;
  const change = { failures, error, ...(startedAt !== undefined && { startedAt }) };
  if (mayRetry(task.spec.retry, error.code, failures) && !task.acted) {
    const dueAt = now + backoffMs(task.spec.retry, failures, random, retryAfterMs);
    return { task: transition(task, "scheduled", "attempt_failed", { ...change, dueAt }), ended: ended(task, "failed", now, error) };
  }
  const reason = failures > 1 && !task.acted ? "attempts_spent" : "not_retryable";
  return { task: transition(task, "failed", reason, { ...change, endedAt: now }), ended: ended(task, "failed", now, error) };
}

export function onLostOf(task: TaskRecord): OnLost {
  return task.spec.onLost ?? (task.acted ? "ask" : "retry");
}

/** The attempt's node is gone. `neverStarted`: the node itself says so, so that nothing can have run. */
export function lose(task: TaskRecord, now: number, neverStarted: boolean): Settled {
  if (task.state === "cancelling") return { task: transition(task, "cancelled", "node_lost", { endedAt: now }) };
  const over = ended(task, "lost", now);
  if (neverStarted) return { task: transition(task, "queued", "node_lost"), ended: over };
  const losses = task.losses + 1;
  const error: TaskError = {
    code: "node_lost",
    message: `The node ${task.lease?.node} was lost; whether the attempt finished there is unknown.`,
  };
  if (losses > LIMITS.nodeLossesMax) {
    return { task: transition(task, "failed", "node_losses_spent", { losses, error, endedAt: now }), ended: over };
  }
  switch (onLostOf(task)) {
    case "retry":
      return { task: transition(task, "queued", "node_lost", { losses }), ended: over };
    case "ask":
      return { task: transition(task, "waiting", "asked", { losses, error }), ended: over };
    case "fail":
      return { task: transition(task, "failed", "outcome_unknown", { losses, error, endedAt: now }), ended: over };
  }
}

/** The node's daemon went down in good order, and says that it has stopped the attempt, or never started it. */
export function interrupt(task: TaskRecord, now: number, neverStarted: boolean): Settled {
  const node = task.lease?.node;
  const error: TaskError = {
    code: "node_stopped",
    message: neverStarted
      ? `The daemon of ${node} was stopped before the attempt had started.`
      : `The daemon of ${node} was stopped, and stopped the attempt before its end.`,
  };
  const over = ended(task, "interrupted", now, error);
  switch (neverStarted ? "retry" : onLostOf(task)) {
    case "retry":
      return { task: transition(task, "queued", "node_stopped"), ended: over };
    case "ask":
      return { task: transition(task, "waiting", "asked", { error }), ended: over };
    case "fail":
      return { task: transition(task, "failed", "node_stopped", { error, endedAt: now }), ended: over };
  }
}

/** undefined: it is over already, or is being cancelled. */
export function cancel(task: TaskRecord, now: number): TaskRecord | undefined {
  if (isTerminal(task.state) || task.state === "cancelling") return undefined;
  return task.lease === undefined
    ? transition(task, "cancelled", "cancel_requested", { endedAt: now })
    : transition(task, "cancelling", "cancel_requested");
}

/** A person wants a finished task run again: same task, next attempt. undefined: it is not failed or cancelled. */
export function retryByHand(task: TaskRecord, now: number): TaskRecord | undefined {
  if (task.state !== "failed" && task.state !== "cancelled") return undefined;
  const { error: _error, endedAt: _endedAt, startedAt: _startedAt, ...rest } = task;
  return transition({ ...rest, failures: 0, losses: 0 }, "queued", "retried_by_hand", { queuedAt: now });
}

/** undefined: it does not wait for a decision. */
export function answer(task: TaskRecord, decision: "retry" | "fail", now: number): TaskRecord | undefined {
  if (task.state !== "waiting") return undefined;
  return decision === "retry"
    ? transition(task, "queued", "answered_retry", { queuedAt: now })
    : transition(task, "failed", "answered_fail", { endedAt: now });
}

export function ended(task: TaskRecord, outcome: NonNullable<Attempt["outcome"]>, now: number, error?: TaskError): Attempt {
  const { lease: held } = task;
  if (held === undefined) throw new Error(`t${task.key} has no attempt to end`);
  return {
    n: task.attempt,
    node: held.node,
    epoch: held.epoch,
    state: "ended",
    outcome,
    offeredAt: held.offeredAt,
    ...(held.startedAt !== undefined && { startedAt: held.startedAt }),
    endedAt: now,
    ...(error !== undefined && { error }),
  };
}
