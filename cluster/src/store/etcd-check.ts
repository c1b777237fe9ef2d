/**
 * Whether a batch keeps the door's rules (S1, S4), before any of it is written, and what follows from it for counts and for
 * finished tasks that are written again. etcd is asked only about what is neither live nor new: history, which is rare.
 */
import assert from "node:assert/strict";
import type { TaskState } from "@openclaw-cluster/contract/task";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { isTerminal, type TaskRecord } from "../core/task.ts";
import { REQUEST_BYTES_MAX } from "./etcd-client.ts";
import { pack, sum, toJson, type Counts, type Reopened } from "./etcd-codec.ts";
import type { Image } from "./etcd-image.ts";
import type { Look } from "./etcd-look.ts";
import type { Reads } from "./etcd-reads.ts";
import type { Batch } from "./store.ts";

export interface Checked {
  readonly counts: Counts;
  readonly reopened: readonly Reopened[];
}

/** Packed, a record must fit into one request, with room for others' keys. */
const RECORD_BYTES_MAX = REQUEST_BYTES_MAX - 64 * 1_024;

type Before = Pick<TaskRecord, "state" | "endedAt">;

export async function check(batch: Batch, image: Image, reads: Reads, look: Look): Promise<Checked> {
  const { created = [], changed = [] } = batch;
  const before = await tasksBefore(batch, image, reads);
  let counts: Counts = {};
  for (const { state } of created) counts = sum(counts, { [state]: 1 });
  const reopened: Reopened[] = [];
  const present = new Map<number, Before>([...before, ...created.map((task) => [task.key, task] as const)]);
  for (const task of changed) {
    const was = present.get(task.key) as Before;
    counts = sum(sum(counts, { [was.state]: -1 } as Counts), { [task.state]: 1 } as Record<TaskState, number>);
    if (isTerminal(was.state)) reopened.push([task.key, was.endedAt ?? null]);
  }
  await refuseDoubles(batch, image, look);
  return { counts, reopened };
}

/** Asked only of a batch that is large as a whole. */
export function refuseTooLarge({ created = [], changed = [] }: Batch): void {
  for (const task of [...created, ...changed]) {
    if (pack(toJson(task)).length > RECORD_BYTES_MAX)
      throw new ClusterError(
        "payload_too_large",
        `Task t${task.key} with all that belongs to it is larger than ${RECORD_BYTES_MAX} bytes, packed.`,
      );
  }
}

/** What every task that the batch speaks of was before it; those that it makes are not in there. */
async function tasksBefore({ created = [], changed = [], attempts = [] }: Batch, image: Image, reads: Reads): Promise<Map<number, Before>> {
  const fresh = new Set<number>();
  for (const { key } of created) {
    assert(key > image.lastKey && !fresh.has(key), `task key ${key} does not follow ${image.lastKey}`);
    fresh.add(key);
  }
  const before = new Map<number, Before>();
  const unknown = new Set<number>();
  for (const key of [...changed.map((task) => task.key), ...attempts.map(({ task }) => task)]) {
    if (fresh.has(key)) continue;
    const task = image.tasks.get(key)?.task ?? image.live.get(key);
    if (task === undefined) unknown.add(key);
    else before.set(key, task);
  }
  for (const [key, { task }] of await reads.doneRows([...unknown])) before.set(key, task);
  for (const { key } of changed) assert(before.has(key) || fresh.has(key), `task ${key} is changed but was never created`);
  for (const { task } of attempts) assert(before.has(task) || fresh.has(task), `task ${task} has an attempt but was never created`);
  return before;
}

/** An attempt is written once. */
async function refuseDoubles({ created = [], attempts = [] }: Batch, image: Image, look: Look): Promise<void> {
  if (attempts.length === 0) return;
  const twice = (task: number, n: number): string => `attempt ${n} of task ${task} is written twice`;
  const fresh = new Set(created.map(({ key }) => key));
  const seen = new Set<string>();
  const folded: string[] = [];
  for (const { task, attempt } of attempts) {
    const key = look.place.keys.attempt(task, attempt.n);
    assert(!seen.has(key) && image.attempts.get(task)?.has(attempt.n) !== true, twice(task, attempt.n));
    seen.add(key);
    // Of a task that was made since the head nothing is folded.
    if (!fresh.has(task) && image.tasks.get(task)?.createdSeq === undefined) folded.push(key);
  }
  if (folded.length === 0) return;
  const { found } = await look.get(folded);
  assert(
    found.every((entry) => entry === undefined),
    "an attempt is written twice",
  );
}
