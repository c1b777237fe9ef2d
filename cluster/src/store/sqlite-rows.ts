/** Between rows and records. A row keeps absent fields as NULL and what has no fixed shape as JSON text. */
import type { Reason, TaskState } from "@openclaw-cluster/contract/task";
import { isDead, isTerminal, nodeOf, type TaskRecord } from "../core/task.ts";

/** One task, from tasks, specs and outcomes together. */
export interface TaskRow {
  readonly key: number;
  readonly state: TaskState;
  readonly reason: Reason;
  readonly seq: number;
  readonly attempt: number;
  readonly queued_at: number;
  readonly started_at: number | null;
  readonly ended_at: number | null;
  readonly rest: string | null;
  readonly placement: string | null;
  readonly owner: string;
  readonly token: string;
  readonly priority: number;
  readonly created_at: number;
  readonly spec: string;
  readonly result: string | null;
  readonly blob: string | null;
  readonly error: string | null;
}

export const TASK_COLUMNS = `t.key, t.state, t.reason, t.seq, t.attempt, t.queued_at, t.started_at, t.ended_at, t.rest, t.placement, t.owner,
  s.token, s.priority, s.created_at, s.spec, o.result, o.blob, o.error`;

/** Goes after `FROM tasks t` and its index. CROSS fixes the order of the loops: tasks outside. */
export const TASK_JOINS = "CROSS JOIN specs s ON s.key = t.key LEFT JOIN outcomes o ON t.outcome = 1 AND o.key = t.key";

export function toRecord(row: TaskRow): TaskRecord {
  return {
    key: row.key,
    spec: JSON.parse(row.spec),
    priority: row.priority,
    owner: row.owner,
    token: row.token,
    createdAt: row.created_at,
    state: row.state,
    reason: row.reason,
    seq: row.seq,
    attempt: row.attempt,
    queuedAt: row.queued_at,
    ...NO_REST,
    ...(row.rest !== null && JSON.parse(row.rest)),
    ...(row.placement !== null && { placement: JSON.parse(row.placement) }),
    ...(row.started_at !== null && { startedAt: row.started_at }),
    ...(row.ended_at !== null && { endedAt: row.ended_at }),
    ...(row.result !== null && { result: JSON.parse(row.result) }),
    ...(row.blob !== null && { resultBlob: JSON.parse(row.blob) }),
    ...(row.error !== null && { error: JSON.parse(row.error) }),
  };
}

export type Value = string | number | null;

/** The column `live`: of both kinds that are not OVER there is an index. */
const OVER = 0;
const LIVE = 1;
const DEAD = 2;

/** What changes in `tasks`, but placement; in the order of `putState`. */
export const STATE_COLUMNS = [
  "state",
  "live",
  "reason",
  "seq",
  "attempt",
  "queued_at",
  "started_at",
  "ended_at",
  "node",
  "outcome",
  "rest",
] as const;

export function putState(task: TaskRecord, values: Value[]): void {
  const live = isTerminal(task.state) ? (isDead(task) ? DEAD : OVER) : LIVE;
  const node = nodeOf(task) ?? null;
  const outcome = hasOutcome(task) ? 1 : 0;
  const { state, reason, seq, attempt, queuedAt, startedAt = null, endedAt = null } = task;
  values.push(state, live, reason, seq, attempt, queuedAt, startedAt, endedAt, node, outcome, restOf(task));
}

const NO_REST = { failures: 0, losses: 0, acted: false } as const;

/** Only what is not as in NO_REST: undefined fields are not written. */
function restOf({ failures, losses, throttles, lastFailure, acted, dueAt, lease, progress }: TaskRecord): string | null {
  const smooth = failures === 0 && losses === 0 && throttles === undefined && lastFailure === undefined;
  if (smooth && !acted && dueAt === undefined && lease === undefined && progress === undefined) return null;
  return JSON.stringify({
    failures: failures || undefined,
    losses: losses || undefined,
    throttles,
    lastFailure,
    acted: acted || undefined,
    dueAt,
    lease,
    progress,
  });
}

export const TASK_ROW = ["key", "owner", "kind", "name", "user", "labels", ...STATE_COLUMNS, "placement"] as const;

export function putTask(task: TaskRecord, values: Value[]): void {
  const { kind, name = null, user = null, labels } = task.spec;
  values.push(task.key, task.owner, kind, name, user, toJson(labels));
  putState(task, values);
  values.push(toJson(task.placement));
}

export const SPEC_ROW = ["key", "token", "priority", "created_at", "spec"] as const;

export function putSpec({ key, token, priority, createdAt, spec }: TaskRecord, values: Value[]): void {
  values.push(key, token, priority, createdAt, JSON.stringify(spec));
}

export const OUTCOME_ROW = ["key", "result", "blob", "error"] as const;

export function putOutcome({ key, result, resultBlob, error }: TaskRecord, values: Value[]): void {
  values.push(key, toJson(result), toJson(resultBlob), toJson(error));
}

export function hasOutcome(task: TaskRecord): boolean {
  return task.result !== undefined || task.error !== undefined || task.resultBlob !== undefined;
}

/** NULL for absent; the JSON value null is the text "null". */
export function toJson(value: unknown): string | null {
  return value === undefined ? null : JSON.stringify(value);
}
