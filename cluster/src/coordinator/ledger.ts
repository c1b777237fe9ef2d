/**
 * Every live task as it is now, and all that follows from it: the queue, reservations, leases by node, alarms, counts.
 * There is one way in, `write`, so that none of these can disagree with the records; what a turn wrote is taken out
 * as one batch for the store.
 *
 * M1. A record changed in memory is in the batch of the same turn; effects (replies, offers) wait for its commit.
 * M2. After a commit that failed, the ledger is thrown away and built again from the store.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { TaskState } from "@openclaw-cluster/contract/task";
import { Alarms } from "../core/alarms.ts";
import type { Settled } from "../core/settle.ts";
import type { Scheduler } from "../core/scheduling/scheduler.ts";
import { specBytes } from "../core/spec-size.ts";
import { isTerminal, type TaskRecord } from "../core/task.ts";
import type { AttemptRow, Loaded } from "../store/store.ts";

export interface Written {
  readonly created: readonly TaskRecord[];
  readonly changed: readonly TaskRecord[];
  readonly attempts: readonly AttemptRow[];
}

export class Ledger {
  readonly scheduler: Scheduler;
  readonly alarms = new Alarms();
  readonly counts: Partial<Record<TaskState, number>>;
  lastKey: number;
  /** What the specs of all live tasks take, roughly. */
  bytes = 0;

  private readonly live = new Map<number, TaskRecord>();
  private readonly leases = new Map<NodeId, Set<number>>();
  // What this turn wrote, each record as it is last; `fresh` are those that the store has never seen.
  private dirty = new Map<number, TaskRecord>();
  private fresh = new Set<number>();
  private attempts: AttemptRow[] = [];

  constructor(scheduler: Scheduler, loaded: Pick<Loaded, "live" | "counts" | "lastKey">) {
    this.scheduler = scheduler;
    this.counts = { ...loaded.counts };
    this.lastKey = loaded.lastKey;
    for (const task of loaded.live) this.restore(task);
  }

  get size(): number {
    return this.live.size;
  }

  get(key: number): TaskRecord | undefined {
    return this.live.get(key);
  }

  /** Every live task, in no order. */
  all(): IterableIterator<TaskRecord> {
    return this.live.values();
  }

  /** As `get`, and what ended in this very turn: of that the store knows nothing yet. */
  latest(key: number): TaskRecord | undefined {
    return this.live.get(key) ?? this.dirty.get(key);
  }

  leasesOf(node: NodeId): ReadonlySet<number> {
    return this.leases.get(node) ?? NONE;
  }

  create(task: TaskRecord): void {
    this.lastKey = Math.max(this.lastKey, task.key);
    this.enter(task);
    this.dirty.set(task.key, task);
    this.fresh.add(task.key);
    this.count(task.state, 1);
    if (task.state === "queued") this.scheduler.enqueue(task);
    this.alarms.set(task, true);
  }

  /** Replaces `before` by what became of it. */
  write(before: TaskRecord, { task, ended }: Settled): void {
    if (ended !== undefined) this.attempts.push({ task: task.key, attempt: ended });
    if (before.state !== task.state) {
      this.count(before.state, -1);
      this.count(task.state, 1);
    }
    if (before.lease !== undefined && task.lease === undefined) {
      this.scheduler.release(before, before.lease.node);
      this.leases.get(before.lease.node)?.delete(task.key);
    } else if (before.lease === undefined && task.lease !== undefined) {
      this.leaseSet(task.lease.node).add(task.key);
    }
    // A task that becomes leased was taken from the queue by the scheduler itself, which reserved for it.
    if (before.state === "queued" && task.state !== "queued" && task.state !== "leased") this.scheduler.dequeue(task.key);
    if (task.state === "queued" && before.state !== "queued") this.scheduler.enqueue(task);
    this.keep(task);
    this.alarms.set(task, false);
  }

  /** News too small for the store: a progress that the next one replaces. */
  note(task: TaskRecord): void {
    this.live.set(task.key, task);
  }

  /** A finished task comes back to life by a person's hand. */
  revive(before: TaskRecord, task: TaskRecord): void {
    this.enter(task);
    this.write(before, { task });
    // Its deadline's alarm may have gone with an earlier life, or with an earlier coordinator.
    this.alarms.set(task, true);
  }

  /** What was written since the last call; undefined when nothing was. */
  take(): Written | undefined {
    if (this.dirty.size === 0) return undefined;
    const created: TaskRecord[] = [];
    const changed: TaskRecord[] = [];
    for (const [key, task] of this.dirty) (this.fresh.has(key) ? created : changed).push(task);
    const written = { created, changed, attempts: this.attempts };
    this.dirty = new Map();
    this.fresh = new Set();
    this.attempts = [];
    return written;
  }

  private keep(task: TaskRecord): void {
    this.dirty.set(task.key, task);
    if (!isTerminal(task.state)) this.live.set(task.key, task);
    else if (this.live.delete(task.key)) this.bytes -= specBytes(task.spec);
  }

  private enter(task: TaskRecord): void {
    this.live.set(task.key, task);
    this.bytes += specBytes(task.spec);
  }

  private restore(task: TaskRecord): void {
    this.enter(task);
    if (task.state === "queued") this.scheduler.enqueue(task);
    if (task.lease !== undefined) {
      this.scheduler.reserve(task, task.lease.node);
      this.leaseSet(task.lease.node).add(task.key);
    }
    this.alarms.set(task, true);
  }

  private leaseSet(node: NodeId): Set<number> {
    let keys = this.leases.get(node);
    if (keys === undefined) this.leases.set(node, (keys = new Set()));
    return keys;
  }

  private count(state: TaskState, by: number): void {
    this.counts[state] = (this.counts[state] ?? 0) + by;
  }
}

const NONE: ReadonlySet<number> = new Set();
