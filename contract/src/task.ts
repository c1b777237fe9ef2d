/** What the cluster knows about a task and shows to a caller. Times are milliseconds since 1970, by the coordinator's clock. */
import { z } from "zod";
import { ErrorCode } from "./errors.ts";
import { NodeId, TaskId } from "./ids.ts";
import { Json } from "./json.ts";
import { SpecOutline, TaskKind, TaskSpec } from "./task-spec.ts";

export const TaskState = z.enum(["scheduled", "queued", "leased", "running", "waiting", "cancelling", "succeeded", "failed", "cancelled"]);
export type TaskState = z.infer<typeof TaskState>;

/** Why a task is in its state; one code for each change (core/task.ts holds the table). */
export const Reason = z.enum([
  "submitted",
  "delayed",
  "due",
  "placed",
  "started",
  "done",
  "attempt_failed",
  "attempts_spent",
  "not_retryable",
  "poison",
  "refused_by_node",
  "node_lost",
  "node_losses_spent",
  "node_stopped",
  "outcome_unknown",
  "backoff_over",
  "asked",
  "answered_retry",
  "answered_fail",
  "cancel_requested",
  "cancel_confirmed",
  "queue_timeout",
  "deadline_passed",
  "retried_by_hand",
]);
export type Reason = z.infer<typeof Reason>;

/** Why a task failed. `message` is for people. */
export const TaskError = z
  .object({
    code: ErrorCode,
    message: z.string().max(4_096),
    /** Exit code, signal, HTTP status: whatever the executor knows. */
    data: z.record(z.string(), Json).optional(),
  })
  .meta({ id: "TaskError" });
export type TaskError = z.infer<typeof TaskError>;

export const Attempt = z
  .object({
    n: z.int().min(1),
    node: NodeId,
    epoch: z.int().optional(),
    state: z.enum(["offered", "running", "unknown", "ended"]),
    outcome: z.enum(["succeeded", "failed", "cancelled", "refused", "interrupted", "lost"]).optional(),
    offeredAt: z.int(),
    startedAt: z.int().optional(),
    endedAt: z.int().optional(),
    error: TaskError.optional(),
  })
  .meta({ id: "Attempt" });
export type Attempt = z.infer<typeof Attempt>;

export const Progress = z.object({ fraction: z.number().min(0).max(1).optional(), text: z.string().max(256).optional() });
export type Progress = z.infer<typeof Progress>;

/** A result too large to stand in the task: fetch it from `/api/v1/tasks/{id}/result`. */
export const BlobRef = z.object({ blob: z.string().max(128), bytes: z.int().min(0) });
export type BlobRef = z.infer<typeof BlobRef>;

export const Task = z
  .object({
    id: TaskId,
    kind: TaskKind,
    name: z.string().optional(),
    /** The user for whom the submit's token spoke; absent where nobody knows any more. */
    owner: z.string().optional(),
    state: TaskState,
    reason: Reason,
    /** Grows with each change of this task. */
    seq: z.int(),
    attempt: z.int().min(0),
    node: NodeId.optional(),
    priority: z.int(),
    progress: Progress.optional(),
    result: Json.optional(),
    resultBlob: BlobRef.optional(),
    error: TaskError.optional(),
    createdAt: z.int(),
    startedAt: z.int().optional(),
    endedAt: z.int().optional(),
    /** It is another's: input, result, error and the progress's words are left out. */
    hidden: z.literal(true).optional(),
    /** The outline where it is hidden. */
    spec: z.union([TaskSpec, SpecOutline]),
  })
  .meta({ id: "Task" });
export type Task = z.infer<typeof Task>;

export const TERMINAL: ReadonlySet<TaskState> = new Set<TaskState>(["succeeded", "failed", "cancelled"]);

/** The answer to a submit: enough to follow the task. `replayed`: the key was known and nothing new was made. */
export const Submitted = z.object({ id: TaskId, state: TaskState, replayed: z.boolean().optional() }).meta({ id: "Submitted" });
export type Submitted = z.infer<typeof Submitted>;
