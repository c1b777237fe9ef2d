/**
 * The event feed: what was committed, in order, to everyone who listens. Listeners keep a place in the ring and nothing
 * else, so one that does not read costs nothing.
 *
 * V1. An id is greater than every id before it, also across restarts: epoch · 2^32 + n.
 * V2. A listener whose place is gone from the ring, or who asks for one that never was, gets one `gap` event and goes on
 *     with the newest.
 */
import { EVENT_RESULT_BYTES_MAX, type ClusterEvent } from "@openclaw-cluster/contract/events";
import { taskId } from "@openclaw-cluster/contract/ids";
import type { Node } from "@openclaw-cluster/contract/node";
import { nodeOf, type TaskRecord } from "../core/task.ts";
import { EventRing } from "./event-ring.ts";

export type News = { readonly task: TaskRecord } | { readonly progress: TaskRecord } | { readonly node: Node };

export class Feed {
  private readonly ring: EventRing;
  private readonly listeners = new Set<() => void>();
  private lastAt = 0;

  constructor(epoch: number) {
    this.ring = new EventRing(epoch * 2 ** 32 + 1);
  }

  publish(news: readonly News[], at: number): void {
    if (news.length === 0) return;
    this.lastAt = at;
    for (const one of news) {
      const bytes = "task" in one ? resultBytes(one.task) : 0;
      this.ring.add(toEvent(this.ring.next, at, one, bytes <= EVENT_RESULT_BYTES_MAX), Math.min(bytes, EVENT_RESULT_BYTES_MAX));
    }
    for (const wake of this.listeners) wake();
  }

  /** Events with ids above `after` (undefined: from now on), as they were committed, until the signal aborts. */
  async *listen(after: number | undefined, signal: AbortSignal): AsyncGenerator<readonly ClusterEvent[]> {
    const { ring } = this;
    let place = after === undefined ? ring.next : after + 1;
    let wake: () => void = () => undefined;
    const roused = (): void => wake();
    this.listeners.add(roused);
    signal.addEventListener("abort", roused);
    try {
      while (!signal.aborted) {
        if (place < ring.oldest || place > ring.next) {
          place = ring.next;
          yield [{ id: place - 1, at: this.lastAt, type: "gap" }];
        } else if (place < ring.next) {
          const events = ring.since(place);
          place = ring.next;
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
  if ("progress" in news) return { id, at, type: "progress", task: taskId(news.progress.key), progress: news.progress.progress ?? {} };
  const { task } = news;
  const { state, reason, seq, attempt } = task;
  const event: Extract<ClusterEvent, { type: "task" }> = { id, at, type: "task", task: taskId(task.key), state, reason, seq, attempt };
  const node = nodeOf(task);
  if (node !== undefined) event.node = node;
  if (task.startedAt !== undefined) event.startedAt = task.startedAt;
  if (withResult && task.result !== undefined) event.result = task.result;
  if (task.error !== undefined) event.error = task.error;
  return event;
}

/** Roughly: only strings and containers can be large. */
function resultBytes({ result }: TaskRecord): number {
  if (typeof result === "string") return result.length;
  return typeof result !== "object" || result === null ? 0 : JSON.stringify(result).length;
}
