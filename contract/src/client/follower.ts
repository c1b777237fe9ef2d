/**
 * Waits for tasks to end, all of them on one shared stream of terminal events.
 *
 * F1. The stream stands before a submit goes out, and events that overtake the answer to it are kept until it is here.
 * F2. Memory is bounded: early events are kept only while a submit is under way, and at most EARLY_MAX of them; what
 *     had to be forgotten is asked for.
 * F3. After a gap every task that is waited for is read anew.
 */
import type { ClusterEvent, TaskEvent } from "../events.ts";
import type { NodeId, TaskId } from "../ids.ts";
import type { Json } from "../json.ts";
import { TERMINAL, type Submitted, type Task, type TaskError } from "../task.ts";
import { call, type Line } from "./call.ts";
import { parseData, resumable } from "./resume.ts";
import { asClusterError } from "./retry.ts";

const EARLY_MAX = 5_000;
/** Tasks read at once. */
const READS_MAX = 8;

/** How a task ended. */
export interface Ended {
  readonly id: TaskId;
  readonly state: "succeeded" | "failed" | "cancelled";
  readonly attempt: number;
  readonly node?: NodeId;
  /** By the worker's clock. */
  readonly startedAt?: number;
  readonly result?: Json;
  readonly error?: TaskError;
}

interface Waiter {
  readonly resolve: (ended: Ended) => void;
  readonly reject: (error: unknown) => void;
}

export class Follower {
  private readonly line: Line;
  private readonly waiters = new Map<TaskId, Waiter[]>();
  private readonly early = new Map<TaskId, { readonly event: TaskEvent; readonly n: number }>();
  /** Counts what came early; a submit remembers where the count stood when it began. */
  private arrived = 0;
  /** Early events up to this number may have been missed or forgotten. */
  private forgottenTo = 0;
  private expected = 0;
  private readonly toRead: TaskId[] = [];
  private readers = 0;
  private connected: Promise<void> | undefined;

  constructor(line: Line) {
    this.line = line;
  }

  /** Submits with the stream open, and resolves each task's end. */
  async follow(submit: () => Promise<readonly Submitted[]>): Promise<Promise<Ended>[]> {
    await (this.connected ??= this.connect());
    const begun = this.arrived;
    this.expected += 1;
    try {
      return (await submit()).map((submitted) => this.end(submitted, begun));
    } finally {
      this.expected -= 1;
      if (this.expected === 0) this.early.clear();
    }
  }

  private end({ id, state }: Submitted, begun: number): Promise<Ended> {
    // It stays where it is: two submits with one dedupeKey are answered with the same task.
    const early = this.early.get(id);
    const ended = new Promise<Ended>((resolve, reject) => {
      const waiters = this.waiters.get(id);
      if (waiters === undefined) this.waiters.set(id, [{ resolve, reject }]);
      else waiters.push({ resolve, reject });
    });
    if (early !== undefined) this.settle(early.event);
    // Over before it was asked for (a replayed submit), or its event may be among the forgotten.
    else if (TERMINAL.has(state) || this.forgottenTo > begun) this.readSoon([id]);
    return ended;
  }

  /** Resolves when the first connection stands; rejects, and lets the next one try, when none does. */
  private connect(): Promise<void> {
    return new Promise((resolve, reject) => {
      const lost = (error: unknown): void => {
        this.connected = undefined;
        reject(asClusterError(error));
        for (const id of this.waiters.keys()) this.fail(id, error);
      };
      this.listen(resolve).then(() => lost(new Error("the client is closed")), lost);
    });
  }

  private async listen(onFirst: () => void): Promise<void> {
    let first = true;
    const onConnect = (resumed: boolean): void => {
      if (first) onFirst();
      else if (!resumed) this.missed();
      first = false;
    };
    for await (const events of resumable(this.line, "/events?terminal=true", { onConnect })) {
      for (const event of events) this.take(parseData(event) as ClusterEvent);
    }
  }

  private take(event: ClusterEvent): void {
    if (event.type === "gap") this.missed();
    if (event.type !== "task") return;
    if (this.waiters.has(event.task)) this.settle(event);
    else if (this.expected > 0) this.keep(event);
  }

  private keep(event: TaskEvent): void {
    this.arrived += 1;
    this.early.set(event.task, { event, n: this.arrived });
    if (this.early.size <= EARLY_MAX) return;
    const [oldest] = this.early.values();
    if (oldest === undefined) return;
    this.early.delete(oldest.event.task);
    this.forgottenTo = oldest.n;
  }

  /** Any task may have ended unseen: those that are waited for, and those whose submit is under way. */
  private missed(): void {
    this.arrived += 1;
    this.forgottenTo = this.arrived;
    this.readSoon(this.waiters.keys());
  }

  private settle(event: TaskEvent): void {
    const { task: id, state, attempt, node, startedAt, result, error } = event;
    // A result that is too large for the event, or none: the task itself says which.
    if (state === "succeeded" && result === undefined) return this.readSoon([id]);
    this.resolve(id, { state, attempt, node, startedAt, result, error });
  }

  private readSoon(ids: Iterable<TaskId>): void {
    for (const id of ids) this.toRead.push(id);
    while (this.readers < Math.min(READS_MAX, this.toRead.length)) void this.readOn();
  }

  /** Reads in the background what is to be read; whoever waits for a task is told when that fails. */
  private async readOn(): Promise<void> {
    this.readers += 1;
    for (let id = this.toRead.shift(); id !== undefined; id = this.toRead.shift()) {
      try {
        await this.read(id);
      } catch (error) {
        this.fail(id, error);
      }
    }
    this.readers -= 1;
  }

  private async read(id: TaskId): Promise<void> {
    const task = (await call(this.line, "GET", `/tasks/${id}`, { safe: true })) as Task;
    if (!TERMINAL.has(task.state)) return;
    const result =
      task.resultBlob === undefined ? task.result : ((await call(this.line, "GET", `/tasks/${id}/result`, { safe: true })) as Json);
    this.resolve(id, { ...task, result });
  }

  private resolve(id: TaskId, end: Pick<Task, "state" | "attempt" | "node" | "startedAt" | "result" | "error">): void {
    const ended = {
      id,
      state: end.state as Ended["state"],
      attempt: end.attempt,
      ...(end.node !== undefined && { node: end.node }),
      ...(end.startedAt !== undefined && { startedAt: end.startedAt }),
      ...(end.result !== undefined && { result: end.result }),
      ...(end.error !== undefined && { error: end.error }),
    };
    for (const waiter of this.remove(id)) waiter.resolve(ended);
  }

  private fail(id: TaskId, error: unknown): void {
    for (const waiter of this.remove(id)) waiter.reject(asClusterError(error));
  }

  private remove(id: TaskId): readonly Waiter[] {
    const waiters = this.waiters.get(id) ?? [];
    this.waiters.delete(id);
    return waiters;
  }
}
