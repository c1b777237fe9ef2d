/**
 * Records as etcd keeps them: JSON, a task's spec apart from what changes of it.
 *
 * C1. What was written is read again as it was, but for fields that are undefined.
 * C2. A row that lists look at is small: specs lie under keys of their own, and so do large outcomes.
 * C3. What is large is packed: etcd's gateway takes 0.1 µs for each byte of a request, and every member writes each byte twice.
 */
import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
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

/** A shorter one gains less than it costs. */
const PACKED_FROM_BYTES = 1_024;
const FAST = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };
/** What a packed value begins with, and no JSON does. */
const ZSTD = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
/** A batch: far beyond what a turn of the coordinator gathers. */
const UNPACKED_BYTES_MAX = 512 * 1_024 * 1_024;
/** A page of 500 rows then stays near 2 MiB. */
const OUTCOME_CHARS_INLINE_MAX = 4 * 1_024;

export function unspecified({ spec: _spec, ...task }: TaskRecord): Unspecified {
  return task;
}

export function toJson(value: unknown): string {
  return JSON.stringify(value);
}

export function fromJson<T>(value: Buffer): T {
  const isPacked = value.length >= ZSTD.length && value.compare(ZSTD, 0, ZSTD.length, 0, ZSTD.length) === 0;
  const json = isPacked ? zstdDecompressSync(value, { maxOutputLength: UNPACKED_BYTES_MAX }) : value;
  return JSON.parse(json.toString()) as T;
}

/** C3. */
export function pack(json: string): Buffer {
  const plain = Buffer.from(json);
  return plain.length < PACKED_FROM_BYTES ? plain : zstdCompressSync(plain, FAST);
}

export function encodeEntry(entry: Omit<LogEntry, "rows">, rows: Rows): Buffer {
  const changed = rows.changed?.map(unspecified);
  return pack(toJson({ ...entry, rows: changed === undefined ? rows : { ...rows, changed } }));
}

export function encodeSpec(spec: TaskSpec): Buffer {
  return pack(toJson(spec));
}

/** The rows of an entry, whole. */
export function rowsOf({ rows }: LogEntry, specOf: (key: number) => TaskSpec): Rows {
  const { changed, ...rest } = rows;
  if (changed === undefined) return rest;
  const created = new Map(rest.created?.map(({ key, spec }) => [key, spec]));
  return { ...rest, changed: changed.map((task) => ({ ...task, spec: created.get(task.key) ?? specOf(task.key) })) };
}

/** The row, and its outcome where that lies apart. */
export function encodeDone(task: TaskRecord): { row: string; outcome: Buffer | undefined } {
  const { kind, name, user, labels } = task.spec;
  const about = { kind, name, user, labels };
  const { result, resultBlob, error, ...rest } = unspecified(task);
  const outcome = toJson({ result, resultBlob, error });
  if (outcome.length <= OUTCOME_CHARS_INLINE_MAX) return { row: toJson({ task: unspecified(task), about }), outcome: undefined };
  return { row: toJson({ task: rest, about, apart: true }), outcome: pack(outcome) };
}

export function sum(counts: Counts, more: Counts): Counts {
  const all: Partial<Record<TaskState, number>> = { ...counts };
  for (const [state, count] of Object.entries(more) as [TaskState, number][]) {
    all[state] = (all[state] ?? 0) + count;
    if (all[state] === 0) delete all[state];
  }
  return all;
}
