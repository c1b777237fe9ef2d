/**
 * What becomes of a task when something happens to it: pure decisions, carried out by the coordinator. Each function
 * takes the record as it is and gives the record as it will be; none of them looks at a clock.
 *
 * L1. A result counts only for the lease it was run under: same attempt, same epoch (`holds`).
 * L2. Once cancelling, a task ends cancelled, whatever its attempt brings home.
 * L3. Losing a node does not spend a retry; it has a limit of its own. A node that leaves in good order spends
 *     neither: its stop, sleep or change of policy is a person's doing, or their machine's, and ends in a report that nothing goes on. What else ends an attempt: retry.ts.
 * L4. A turn that has acted, or a task whose owner said so, never runs a second time by itself.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Attempt, Progress, TaskError } from "@openclaw-cluster/contract/task";
import { priorityNumber, type TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { AttemptRef, Finished, Outcome } from "@openclaw-cluster/contract/wire";
import { fingerprint, type Failure } from "./failure.ts";
import { courseAfterLoss, judge, onLostOf } from "./retry.ts";
import type { Placement } from "./scheduling/placement.ts";
import { isTerminal, transition, type TaskRecord } from "./task.ts";

/** A record, and the attempt that ended with the change. (A success needs no row of its own: the record tells it, for good.) */
export interface Settled {
  readonly task: TaskRecord;
  readonly ended?: Attempt;
}

/** `token`: the id of the one that submitted it for its owner. */
export function create(key: number, spec: TaskSpec, owner: string, now: number, token = ""): TaskRecord {
  const common = {
    key,
    spec,
    owner,
    token,
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

/** `boot`: the life of the node's daemon that it is offered to. */
export function lease(task: TaskRecord, placement: Placement, epoch: number, now: number, boot?: number): TaskRecord {
  return transition(task, "leased", "placed", {
    attempt: task.attempt + 1,
    acted: false,
    placement,
    lease: { node: placement.node, epoch, offeredAt: now, ...(boot !== undefined && { boot }) },
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
  if (known.state === "cancelling") {
    return { task: transition(known, "cancelled", "cancel_confirmed", { endedAt: now }), ended: ended(known, "cancelled", now) };
  }
  const { outcome } = finished;
  switch (outcome.kind) {
    case "succeeded":
      return { task: succeed(known, outcome, finished.startedAt, now) };
    case "failed":
      return fail(known, outcome, finished.startedAt ?? known.startedAt, now, random);
    case "refused":
      return {
        task: transition(known, "queued", "refused_by_node", { queuedAt: known.queuedAt }),
        ended: ended(known, "refused", now, outcome.error),
      };
    case "cancelled":
      // Nobody here asked for it.
      return outcome.cause === undefined
        ? lose(known, now, finished.startedAt === undefined)
        : interrupt(known, now, finished.startedAt === undefined, outcome.cause);
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
  outcome: Extract<Outcome, { kind: "failed" }>,
  startedAt: number | undefined,
  now: number,
  random: number,
): Settled {
  const { error } = outcome;
  const over = ended(task, "failed", now, error);
  const lastFailure: Failure = { node: over.node, print: fingerprint(error) };
  const { course, counts } = judge(task, outcome, lastFailure, random);
  const change = { ...counts, lastFailure, error, ...(startedAt !== undefined && { startedAt }) };
  switch (course.kind) {
    case "again":
      return { task: transition(task, "scheduled", "attempt_failed", { ...change, dueAt: now + course.pauseMs }), ended: over };
    case "ask":
      return { task: transition(task, "waiting", "asked", change), ended: over };
    case "over":
      return { task: transition(task, "failed", course.reason, { ...change, endedAt: now }), ended: over };
  }
}

/** A second run of it is nobody's worry. */
export function isHarmless({ spec }: TaskRecord): boolean {
  return spec.onLost === undefined && spec.kind !== "agent";
}

/** The attempt's node is gone. `neverStarted`: the node itself says so, so that nothing can have run. */
export function lose(task: TaskRecord, now: number, neverStarted: boolean): Settled {
  const over = ended(task, "lost", now);
  if (task.state === "cancelling") return { task: transition(task, "cancelled", "node_lost", { endedAt: now }), ended: over };
  if (neverStarted) return { task: transition(task, "queued", "node_lost"), ended: over };
  const losses = task.losses + 1;
  const error: TaskError = {
    code: "node_lost",
    message: `The node ${over.node} was lost; whether the attempt finished there is unknown.`,
  };
  const course = courseAfterLoss(task, losses);
  switch (course.kind) {
    case "again":
      return { task: transition(task, "queued", "node_lost", { losses, ...queueTimeAnew(task, now) }), ended: over };
    case "ask":
      return { task: transition(task, "waiting", "asked", { losses, error }), ended: over };
    case "over":
      return { task: transition(task, "failed", course.reason, { losses, error, endedAt: now }), ended: over };
  }
}

/** Its node says that it holds the attempt, and should have ended it long ago (timeouts.ts). */
export function overrun(task: TaskRecord, now: number, random: number): Settled {
  if (task.state !== "running") return lose(task, now, false);
  const error: TaskError = { code: "run_timeout", message: "It ran far beyond its time, and its node did not end it." };
  return fail(task, { kind: "failed", error }, task.startedAt, now, random);
}

/**
 * It had been accepted, so its time in the queue counts from now. Only where that time is limited: the others keep what
 * aging has given them.
 */
function queueTimeAnew({ spec }: TaskRecord, now: number): Pick<TaskRecord, "queuedAt"> | undefined {
  return spec.timeouts?.queueMs === undefined ? undefined : { queuedAt: now };
}

type StopCause = NonNullable<Extract<Outcome, { kind: "cancelled" }>["cause"]>;

const STOPPED: Readonly<Record<StopCause, (node: NodeId | undefined) => string>> = {
  shutdown: (node) => `The daemon of ${node} was stopped`,
  sleep: (node) => `The machine ${node} went to sleep`,
  policy: (node) => `The policy of ${node} does not allow it any more`,
};

/** The node left in good order or may not go on, and says that it has stopped the attempt, or never started it. */
export function interrupt(task: TaskRecord, now: number, neverStarted: boolean, cause: StopCause): Settled {
  const node = task.lease?.node;
  const what = STOPPED[cause](node);
  const error: TaskError = {
    code: "node_stopped",
    message: neverStarted ? `${what} before the attempt had started.` : `${what}, and stopped the attempt before its end.`,
  };
  const over = ended(task, "interrupted", now, error);
  switch (neverStarted ? "retry" : onLostOf(task)) {
    case "retry":
      return { task: transition(task, "queued", "node_stopped", queueTimeAnew(task, now)), ended: over };
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

/**
 * A person wants a finished task run again: same task, next attempt, nothing spent. undefined: it is not failed or
 * cancelled, or its deadline has passed, which would end it at once.
 */
export function retryByHand(task: TaskRecord, now: number): TaskRecord | undefined {
  if (task.state !== "failed" && task.state !== "cancelled") return undefined;
  if (task.spec.deadline !== undefined && task.spec.deadline <= now) return undefined;
  const { error: _error, endedAt: _endedAt, startedAt: _startedAt, throttles: _throttles, lastFailure: _failure, ...rest } = task;
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
