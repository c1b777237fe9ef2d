/**
 * The event feed: what was committed, in order, to everyone who listens. A listener is a place in the history and nothing
 * else, so one that does not read costs nothing.
 *
 * V1. An id is greater than every id before it, also across restarts: epoch · 2^32 + n.
 * V2. A listener whose place is gone from the history, or who asks for one that never was, gets one `gap` event and goes on
 *     with the newest.
 */
import { EVENT_RESULT_BYTES_MAX, type ClusterEvent } from "@openclaw-cluster/contract/events";
import { taskId, type NodeId } from "@openclaw-cluster/contract/ids";
import type { Node } from "@openclaw-cluster/contract/node";
import { nodeOf, type TaskRecord } from "../core/task.ts";
import { EventHistory } from "./event-history.ts";

export type News =
  | { readonly task: TaskRecord }
  | { readonly progress: TaskRecord }
  | { readonly node: Node }
  | { readonly removed: NodeId };

/** An event's fields, roughly, without its result. */
const EVENT_BYTES = 256;

export class Feed {
  private readonly history: EventHistory;
  private readonly listeners = new Set<() => void>();
  private lastAt = 0;

  constructor(epoch: number) {
    this.history = new EventHistory(epoch * 2 ** 32 + 1);
  }

  publish(news: readonly News[], at: number): void {
    if (news.length === 0) return;
    this.lastAt = at;
    let bytes = news.length * EVENT_BYTES;
    const events = news.map((one, index) => {
      const result = "task" in one ? resultBytes(one.task) : 0;
      const rides = result <= EVENT_RESULT_BYTES_MAX;
      if (rides) bytes += result;
      return toEvent(this.history.next + index, at, one, rides);
    });
    this.history.add(events, bytes);
    for (const wake of this.listeners) wake();
  }

  /** Events with ids above `after` (undefined: from now on), as they were committed, until the signal aborts. */
  async *listen(after: number | undefined, signal: AbortSignal): AsyncGenerator<readonly ClusterEvent[]> {
    const { history } = this;
    let place = after === undefined ? history.next : after + 1;
    let wake: () => void = () => undefined;
    const roused = (): void => wake();
    this.listeners.add(roused);
    signal.addEventListener("abort", roused);
    try {
      while (!signal.aborted) {
        if (place < history.oldest || place > history.next) {
          place = history.next;
          yield [{ id: place - 1, at: this.lastAt, type: "gap" }];
        } else if (place < history.next) {
          const events = history.since(place);
          place = history.next;
          yield events;
        } else {
          await new Promise<void>((resolve) => (wake = resolve));
        }
      }
    } finally {
      this.listeners.delete(roused);
      signal.removeEventListener("abort", roused);
    }
  }
}

function toEvent(id: number, at: number, news: News, withResult: boolean): ClusterEvent {
  if ("node" in news) return { id, at, type: "node", node: news.node.id, state: news.node.state, draining: news.node.draining };
  if ("removed" in news) return { id, at, type: "node", node: news.removed, state: "removed", draining: false };
  if ("progress" in news) {
    const { key, progress = {}, owner } = news.progress;
    return { id, at, type: "progress", task: taskId(key), progress, ...(owner !== "" && { owner }) };
  }
  const { task } = news;
  const { state, reason, seq, attempt } = task;
  const event: Extract<ClusterEvent, { type: "task" }> = { id, at, type: "task", task: taskId(task.key), state, reason, seq, attempt };
  const node = nodeOf(task);
  if (node !== undefined) event.node = node;
  if (task.startedAt !== undefined) event.startedAt = task.startedAt;
  if (withResult && task.result !== undefined) event.result = task.result;
  if (task.error !== undefined) event.error = task.error;
  if (task.owner !== "") event.owner = task.owner;
  return event;
}

/** Roughly: only strings and containers can be large. */
function resultBytes({ result }: TaskRecord): number {
  if (typeof result === "string") return result.length;
  return typeof result !== "object" || result === null ? 0 : JSON.stringify(result).length;
}
