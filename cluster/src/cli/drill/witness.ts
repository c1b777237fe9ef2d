/**
 * Watches the cluster's event feed for a drill: keeps what concerns its tasks and all nodes, and wakes who waits for something
 * to be seen.
 *
 * T1. A drill that has missed an event has measured nothing: a gap ends it with an error.
 */
import type { Client } from "@openclaw-cluster/contract/client/client";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { ClusterEvent, TaskEvent } from "@openclaw-cluster/contract/events";
import { TERMINAL } from "@openclaw-cluster/contract/task";
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import type { NodeState } from "@openclaw-cluster/contract/node";

/** Events of all tasks are kept while a submit is under way, for its answer says which of them are ours. */
const EVENTS_MAX = 200_000;

export class Witness {
  readonly tasks = new Set<TaskId>();
  private kept: ClusterEvent[] = [];
  private submitting = 0;
  private fault: Error | undefined;
  private readonly lookers = new Set<() => void>();
  private readonly leave = new AbortController();
  private readonly listening: Promise<void>;

  constructor(client: Client) {
    this.listening = this.listen(client);
  }

  get events(): readonly ClusterEvent[] {
    return this.kept;
  }

  /** Events of the tasks that `submit` makes are ours, also those that overtake its answer. */
  async expect<T>(submit: () => Promise<readonly { readonly id: TaskId }[] & T>): Promise<T> {
    this.submitting += 1;
    try {
      const made = await submit();
      for (const { id } of made) this.tasks.add(id);
      return made;
    } finally {
      this.submitting -= 1;
      if (this.submitting === 0) this.kept = this.kept.filter((event) => this.concerns(event));
    }
  }

  /** Looks again at each event, until there is something. */
  until<T>(what: string, find: () => T | undefined, { limitMs, signal }: { limitMs: number; signal: AbortSignal }): Promise<T> {
    return new Promise((resolve, reject) => {
      const done = (): void => {
        clearTimeout(timer);
        this.lookers.delete(look);
        signal.removeEventListener("abort", look);
      };
      const look = (): void => {
        const found = signal.aborted || this.fault !== undefined ? undefined : find();
        const fault = signal.aborted ? (signal.reason as Error) : this.fault;
        if (found === undefined && fault === undefined) return;
        done();
        if (found === undefined) reject(fault);
        else resolve(found);
      };
      const timer = setTimeout(() => {
        done();
        reject(new ClusterError("unavailable", `waited ${limitMs / 1_000} s in vain for this: ${what}`));
      }, limitMs);
      this.lookers.add(look);
      signal.addEventListener("abort", look);
      look();
    });
  }

  /** As the node's last event says. */
  stateOf(node: NodeId): NodeState | "removed" | undefined {
    const last = this.kept.findLast((event) => event.type === "node" && event.node === node);
    return last?.type === "node" ? last.state : undefined;
  }

  /** Our tasks that run on the node now, as far as events tell. */
  runningOn(node: NodeId): number {
    const last = this.lastOfEach();
    return [...last.values()].filter((event) => event.state === "running" && event.node === node).length;
  }

  /** Our tasks that are not over. */
  get open(): number {
    const ended = [...this.lastOfEach()].filter(([id, { state }]) => this.tasks.has(id) && TERMINAL.has(state));
    return this.tasks.size - ended.length;
  }

  async close(): Promise<void> {
    this.leave.abort();
    await this.listening;
  }

  private lastOfEach(): Map<TaskId, TaskEvent> {
    return new Map(this.kept.filter((event) => event.type === "task").map((event) => [event.task, event]));
  }

  /** Never rejects. */
  private async listen(client: Client): Promise<void> {
    try {
      for await (const event of client.events({ types: ["task", "node"], signal: this.leave.signal })) this.take(event);
    } catch (error) {
      this.fault = error instanceof Error ? error : new Error(String(error));
    }
    for (const look of this.lookers) look();
  }

  private take(event: ClusterEvent): void {
    if (event.type === "gap" || this.kept.length >= EVENTS_MAX)
      this.fault = new ClusterError("overloaded", "some events were missed, so nothing can be measured; the cluster is very busy");
    else if (this.submitting > 0 || this.concerns(event)) this.kept.push(event);
    for (const look of this.lookers) look();
  }

  private concerns(event: ClusterEvent): boolean {
    return event.type === "node" || (event.type === "task" && this.tasks.has(event.task));
  }
}
