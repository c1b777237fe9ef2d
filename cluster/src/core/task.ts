/**
 * A task's life: the record the coordinator keeps of it, and the table of changes it may go through. Nothing else in
 * the project sets a task's state.
 *
 * T1. Every change is in TRANSITIONS and raises `seq` by one.
 * T2. succeeded, failed and cancelled are never left, but by a person's retry, which is a change of its own.
 * T3. A record with a lease is leased, running or cancelling, and no other record has one.
 * T4. `attempt` only grows; an attempt number is never given twice.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Json } from "@openclaw-cluster/contract/json";
import type { Submitter } from "@openclaw-cluster/contract/submitter";
import type { BlobRef, Progress, Reason, TaskError, TaskState } from "@openclaw-cluster/contract/task";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { Failure } from "./failure.ts";
import type { Placement } from "./scheduling/placement.ts";

export interface Lease {
  readonly node: NodeId;
  /** The coordinator's term in which it was given. */
  readonly epoch: number;
  readonly offeredAt: number;
  /** The life of the node's daemon that it was offered to; absent where none was known. */
  readonly boot?: number;
  readonly startedAt?: number;
}

export interface TaskRecord {
  readonly key: number;
  readonly spec: TaskSpec;
  readonly priority: number;
  /** The user whose task it is, for good; empty where nobody knows any more (tasks of before names were kept). */
  readonly owner: string;
  /** The id of the token that submitted it. */
  readonly token: string;
  readonly createdAt: number;
  readonly state: TaskState;
  readonly reason: Reason;
  readonly seq: number;
  /** Attempts offered so far; the running one's number. */
  readonly attempt: number;
  /** Attempts that failed by themselves; those spend the retries. */
  readonly failures: number;
  /**
   * Attempts that infrastructure ended: lost with their node, or failed by a worker's or a Gateway's fault. Limited on
   * their own. A daemon that stops in good order loses none.
   */
  readonly losses: number;
  /** Attempts that somebody throttled; limited on their own. */
  readonly throttles?: number;
  /** Only of tasks that failed before: what it was, and where. */
  readonly lastFailure?: Failure;
  /** Since when it waits for a node; aging counts from here. */
  readonly queuedAt: number;
  /** When a scheduled task becomes due. */
  readonly dueAt?: number;
  readonly lease?: Lease | undefined;
  /** The running turn has called a tool: a replay could act twice. */
  readonly acted: boolean;
  readonly placement?: Placement;
  readonly progress?: Progress | undefined;
  readonly startedAt?: number | undefined;
  readonly endedAt?: number;
  readonly result?: Json;
  readonly resultBlob?: BlobRef;
  readonly error?: TaskError | undefined;
}

/** As a node is told of them. */
export function submitterOf({ owner, token }: Pick<TaskRecord, "owner" | "token">): Submitter {
  return owner === "" ? { token } : { token, name: owner };
}

/**
 * from → to → the reasons that may cause it. What waits for a node is asked about, or given up as unknown, only when it
 * comes out of a backup: it may have run since (core/restored.ts).
 */
export const TRANSITIONS: { readonly [From in TaskState]: { readonly [To in TaskState]?: readonly Reason[] } } = {
  scheduled: {
    queued: ["due", "backoff_over"],
    waiting: ["asked"],
    cancelled: ["cancel_requested"],
    failed: ["deadline_passed", "queue_timeout", "outcome_unknown"],
  },
  queued: {
    leased: ["placed"],
    waiting: ["asked"],
    cancelled: ["cancel_requested"],
    failed: ["deadline_passed", "queue_timeout", "outcome_unknown"],
  },
  leased: {
    running: ["started"],
    queued: ["refused_by_node", "node_lost", "node_stopped"],
    scheduled: ["attempt_failed"],
    waiting: ["asked"],
    succeeded: ["done"],
    failed: ["attempts_spent", "not_retryable", "poison", "node_losses_spent", "node_stopped", "deadline_passed", "outcome_unknown"],
    cancelling: ["cancel_requested"],
    cancelled: ["cancel_confirmed"],
  },
  running: {
    queued: ["node_lost", "node_stopped", "refused_by_node"],
    scheduled: ["attempt_failed"],
    waiting: ["asked"],
    succeeded: ["done"],
    failed: ["attempts_spent", "not_retryable", "poison", "node_losses_spent", "node_stopped", "deadline_passed", "outcome_unknown"],
    cancelling: ["cancel_requested"],
    cancelled: ["cancel_confirmed"],
  },
  waiting: {
    queued: ["answered_retry"],
    failed: ["answered_fail", "deadline_passed"],
    cancelled: ["cancel_requested"],
  },
  cancelling: {
    cancelled: ["cancel_confirmed", "node_lost"],
  },
  succeeded: {},
  failed: { queued: ["retried_by_hand"] },
  cancelled: { queued: ["retried_by_hand"] },
};

/** A change outside the table is a bug of ours, not a caller's mistake: callers are refused before it comes to this. */
export class TransitionError extends Error {
  override name = "TransitionError";
}

type Change = Partial<Omit<TaskRecord, "key" | "spec" | "priority" | "owner" | "token" | "createdAt" | "state" | "reason" | "seq">>;

/** The record after the change. The lease goes when the new state has none (T3); everything else stays unless changed. */
export function transition(task: TaskRecord, to: TaskState, reason: Reason, change?: Change): TaskRecord {
  if (!TRANSITIONS[task.state][to]?.includes(reason)) {
    throw new TransitionError(`t${task.key}: ${task.state} → ${to} because of ${reason} is not in the table`);
  }
  // A copy and its changes, nothing taken out: a second spread and a rest would cost ten times as much, 2 µs a task.
  const next: { -readonly [Field in keyof TaskRecord]: TaskRecord[Field] } = Object.assign({ ...task }, change);
  next.state = to;
  next.reason = reason;
  next.seq = task.seq + 1;
  if (to !== "leased" && to !== "running" && to !== "cancelling") next.lease = undefined;
  return next;
}

export function isTerminal(state: TaskState): boolean {
  return state === "succeeded" || state === "failed" || state === "cancelled";
}

/**
 * Dead letters: an attempt ended badly, and none follows by itself. Not those whose time ran out while they waited, and
 * not those that a person gave up.
 */
const DEAD: ReadonlySet<Reason> = new Set<Reason>(["attempts_spent", "not_retryable", "poison", "node_losses_spent", "outcome_unknown"]);

export function isDead({ state, reason }: Pick<TaskRecord, "state" | "reason">): boolean {
  return state === "failed" && DEAD.has(reason);
}

/** Where it runs, or last ran. A queued task is nowhere, whatever became of its earlier attempts. */
export function nodeOf(task: Pick<TaskRecord, "lease" | "state" | "placement">): NodeId | undefined {
  if (task.lease !== undefined) return task.lease.node;
  return isTerminal(task.state) || task.state === "waiting" ? task.placement?.node : undefined;
}

/** Slots and memory that the task takes on its node. */
export function demand(spec: TaskSpec): { slots: number; memoryMiB: number } {
  return { slots: spec.require?.slots ?? 1, memoryMiB: spec.require?.memoryMiB ?? 0 };
}
