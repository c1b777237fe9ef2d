/**
 * Records as etcd keeps them: JSON, a task's spec apart from what changes of it.
 *
 * C1. What was written is read again as it was, but for fields that are undefined.
 * C2. A row that lists look at is small: specs lie under keys of their own, and so do large outcomes.
 */
import type { TaskState } from "@openclaw-cluster/contract/task";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { TaskRecord } from "../core/task.ts";
import type { ChainHead } from "../trust/audit-chain.ts";
import type { Rows } from "./store.ts";

export type Counts = Readonly<Partial<Record<TaskState, number>>>;
export type Unspecified = Omit<TaskRecord, "spec">;

/** Up to where the log is folded, and what follows from all of that. */
export interface Head {
  readonly applied: number;
  readonly counts: Counts;
  readonly lastKey: number;
  readonly audit: ChainHead;
  /** Another one each time it is written: a transaction that compares the head belongs to one moment. */
  readonly stamp: string;
}

/** A finished task that is written again: what it was before goes. */
export type Reopened = readonly [key: number, endedAt: number | null];

export interface LogEntry {
  /** Whose it is: an entry that was written without an answer is known again by it. */
  readonly nonce: string;
  readonly epoch: number;
  /** How many more, or fewer, tasks there are in each state. */
  readonly counts: Counts;
  readonly reopened: readonly Reopened[];
  /** `changed` without specs. */
  readonly rows: Omit<Rows, "changed"> & { readonly changed?: readonly Unspecified[] };
}

/** Under a log key: an entry, or how many parts it lies in. */
export type LogValue = LogEntry | { readonly nonce: string; readonly parts: number };

/** Of a finished task. */
export interface DoneRow {
  readonly task: Unspecified;
  /** What lists ask of the spec. */
  readonly about: Pick<TaskSpec, "kind" | "name" | "user" | "labels">;
  /** Its outcome lies apart. */
  readonly apart?: true;
}

export type Outcome = Pick<TaskRecord, "result" | "resultBlob" | "error">;

/** Under a key of `ended`: what prune has to know to count right and to leave nothing. */
export interface Ending {
  readonly state: TaskState;
  readonly dead?: true;
  readonly apart?: true;
}

/** A page of 500 rows then stays near 2 MiB. */
const OUTCOME_CHARS_INLINE_MAX = 4 * 1_024;

export function unspecified({ spec: _spec, ...task }: TaskRecord): Unspecified {
  return task;
}

export function toJson(value: unknown): string {
  return JSON.stringify(value);
}

export function fromJson<T>(value: Buffer): T {
  return JSON.parse(value.toString()) as T;
}

export function encodeEntry(entry: Omit<LogEntry, "rows">, rows: Rows): Buffer {
  const changed = rows.changed?.map(unspecified);
  return Buffer.from(toJson({ ...entry, rows: changed === undefined ? rows : { ...rows, changed } }));
}

/** The rows of an entry, whole. */
export function rowsOf({ rows }: LogEntry, specOf: (key: number) => TaskSpec): Rows {
  const { changed, ...rest } = rows;
  if (changed === undefined) return rest;
  const created = new Map(rest.created?.map(({ key, spec }) => [key, spec]));
  return { ...rest, changed: changed.map((task) => ({ ...task, spec: created.get(task.key) ?? specOf(task.key) })) };
}

/** The row, and its outcome where that lies apart. */
export function encodeDone(task: TaskRecord): { row: string; outcome: string | undefined } {
  const { kind, name, user, labels } = task.spec;
  const about = { kind, name, user, labels };
  const { result, resultBlob, error, ...rest } = unspecified(task);
  const outcome = toJson({ result, resultBlob, error });
  if (outcome.length <= OUTCOME_CHARS_INLINE_MAX) return { row: toJson({ task: unspecified(task), about }), outcome: undefined };
  return { row: toJson({ task: rest, about, apart: true }), outcome };
}

export function sum(counts: Counts, more: Counts): Counts {
  const all: Partial<Record<TaskState, number>> = { ...counts };
  for (const [state, count] of Object.entries(more) as [TaskState, number][]) {
    all[state] = (all[state] ?? 0) + count;
    if (all[state] === 0) delete all[state];
  }
  return all;
}
