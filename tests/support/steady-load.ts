/**
 * Echo tasks that are submitted at a steady pace, each for itself, whatever becomes of the cluster meanwhile; and what was seen of it:
 * for how long nothing was accepted, and whether each one that was accepted is there once and has ended well.
 *
 * L1. The pace is kept by the clock, not by the answers: what waits for a new leader does not slow down what follows.
 */
import { randomUUID } from "node:crypto";
import type { Client } from "@openclaw-cluster/contract/client/client";
import type { TaskId } from "@openclaw-cluster/contract/ids";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import { TaskState, TERMINAL, type Task } from "@openclaw-cluster/contract/task";
import { until } from "./daemon.ts";

export interface LoadSeen {
  readonly accepted: number;
  /** What was answered with an error, each once. */
  readonly refusals: readonly unknown[];
  /** The longest time without an answer that accepts something. */
  readonly gapMs: number;
  /** The longest that one submit took. */
  readonly longestMs: number;
  /** From the end of the load until every task had ended. */
  readonly drainedMs: number;
  /** Tasks that took more than one attempt. */
  readonly repeated: number;
  /** What was promised and is not so; nothing is what it should find. */
  readonly broken: readonly string[];
}

const TICK_MS = 50;
const OPEN = TaskState.options.filter((state) => !TERMINAL.has(state));
const DRAINED_MS_MAX = 90_000;
const SEEN_MS_MAX = 90_000;
const BROKEN_MAX = 20;

export class SteadyLoad {
  private readonly client: Client;
  private readonly name = `steady-${randomUUID()}`;
  private readonly answers: { readonly id: TaskId; readonly value: number }[] = [];
  private readonly refusals: unknown[] = [];
  private readonly sent: Promise<void>[] = [];
  private readonly timer: ReturnType<typeof setInterval>;
  private readonly begunAt = performance.now();
  private readonly perSecond: number;
  private lastAt = performance.now();
  private sinceAt = performance.now();
  private gapMs = 0;
  private longestMs = 0;

  constructor(client: Client, perSecond: number) {
    [this.client, this.perSecond] = [client, perSecond];
    this.timer = setInterval(() => this.tick(), TICK_MS);
  }

  get accepted(): number {
    return this.answers.length;
  }

  /** The longest gap is counted from now on. */
  mark(): void {
    this.sinceAt = this.lastAt = performance.now();
    this.gapMs = 0;
  }

  /** So many more, of submits that are sent from now on. */
  async more(count: number): Promise<void> {
    const from = this.sent.length;
    const wanted = from + count;
    const isThere = (): true | undefined =>
      this.answers.reduce((all, { value }) => all + (value >= from && value < wanted ? 1 : 0), 0) >= count / 2 || undefined;
    await until("submits are accepted again", isThere, SEEN_MS_MAX);
  }

  /** Ends it, waits until all is answered and over, and looks. */
  async end(): Promise<LoadSeen> {
    clearInterval(this.timer);
    await Promise.all(this.sent);
    this.noteGap(performance.now());
    const endedAt = performance.now();
    const tasks = await until("every task of the load is over", () => this.allOver(), DRAINED_MS_MAX);
    const { refusals, gapMs, longestMs } = this;
    return {
      ...{ accepted: this.accepted, refusals, gapMs, longestMs, drainedMs: performance.now() - endedAt },
      repeated: tasks.filter(({ attempt }) => attempt > 1).length,
      broken: (await this.brokenIn(tasks)).slice(0, BROKEN_MAX),
    };
  }

  /** Where a test gives up. */
  stop(): void {
    clearInterval(this.timer);
  }

  /** L1. */
  private tick(): void {
    const due = Math.floor(((performance.now() - this.begunAt) * this.perSecond) / 1_000);
    while (this.sent.length < due) this.sent.push(this.submit(this.sent.length));
  }

  private async submit(value: number): Promise<void> {
    const sentAt = performance.now();
    try {
      const { id } = await this.client.submit({ kind: "echo", name: this.name, input: { value } });
      this.answers.push({ id, value });
      const now = performance.now();
      this.noteGap(now);
      this.lastAt = now;
      this.longestMs = Math.max(this.longestMs, now - sentAt);
    } catch (error) {
      this.refusals.push(error);
    }
  }

  private noteGap(now: number): void {
    this.gapMs = Math.max(this.gapMs, now - Math.max(this.lastAt, this.sinceAt));
  }

  private async allOver(): Promise<Task[] | undefined> {
    const open = await this.client.listTasks({ name: this.name, state: [...OPEN], limit: 1 });
    if (open.tasks.length > 0) return undefined;
    const tasks: Task[] = [];
    for (let cursor: number | undefined; ;) {
      const page = await this.client.listTasks({ name: this.name, limit: LIMITS.listMax, ...(cursor !== undefined && { cursor }) });
      tasks.push(...page.tasks);
      cursor = page.next;
      if (cursor === undefined) break;
    }
    return tasks.every(({ state }) => TERMINAL.has(state)) ? tasks : undefined;
  }

  private async brokenIn(tasks: readonly Task[]): Promise<string[]> {
    const byId = new Map(tasks.map((task) => [task.id, task]));
    const found = this.answers.filter(({ id }) => !byId.has(id)).map(({ id, value }) => `${id} (${value}) was accepted and is gone`);
    if (byId.size !== tasks.length) found.push(`${tasks.length - byId.size} tasks are listed twice`);
    const values = new Set(tasks.map(({ result }) => result));
    if (values.size !== tasks.length) found.push(`${tasks.length - values.size} submits were accepted twice`);
    // Whoever was refused may have been heard all the same.
    if (tasks.length > this.accepted + this.refusals.length) found.push(`${tasks.length} tasks of ${this.accepted} that were accepted`);
    for (const { id, value } of this.answers) {
      const task = byId.get(id);
      if (task !== undefined && (task.state !== "succeeded" || task.result !== value))
        found.push(`${id} (${value}) ended ${task.state} (${task.reason}) with ${JSON.stringify(task.result)}`);
    }
    for (const { id, attempt } of tasks.filter((task) => task.attempt > 1)) {
      const { attempts } = await this.client.attempts({ id });
      const accepted = attempts.filter(({ outcome }) => outcome === "succeeded");
      if (accepted.length !== 1) found.push(`${id} has ${accepted.length} accepted attempts of ${attempt}`);
    }
    return found;
  }
}
