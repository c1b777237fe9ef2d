/**
 * The event feed: what was committed, in order, to everyone who listens. Events are kept as the records they tell of and
 * become wire events only for a listener that wants them, because most are never asked for.
 *
 * V1. An id is greater than every id before it, also across restarts: epoch · 2^32 + n.
 * V2. A listener that falls behind, or asks for what is gone, gets one `gap` event and goes on with the newest.
 */
import { EVENT_RESULT_BYTES_MAX, type ClusterEvent } from "@openclaw-cluster/contract/events";
import { taskId } from "@openclaw-cluster/contract/ids";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import type { Node } from "@openclaw-cluster/contract/node";
import { nodeOf, type TaskRecord } from "../core/task.ts";

/** What a listener may have pending before it is told of a gap. */
const PENDING_MAX = 50_000;

type News = { readonly task: TaskRecord } | { readonly progress: TaskRecord } | { readonly node: Node };

/** Everything that one commit brought, numbered from `first`. */
interface Entry {
  readonly first: number;
  readonly at: number;
  readonly news: readonly News[];
}

interface Listener {
  pending: Entry[];
  count: number;
  gap: boolean;
  wake: (() => void) | undefined;
}

export class Feed {
  private next: number;
  private kept: Entry[] = [];
  private keptCount = 0;
  private readonly listeners = new Set<Listener>();

  constructor(epoch: number) {
    this.next = epoch * 2 ** 32 + 1;
  }

  publish(news: readonly News[], at: number): void {
    if (news.length === 0) return;
    const entry = { first: this.next, at, news };
    this.next += news.length;
    this.kept.push(entry);
    this.keptCount += news.length;
    while (this.keptCount > LIMITS.eventsKept && this.kept.length > 1) {
      this.keptCount -= (this.kept.shift() as Entry).news.length;
    }
    for (const listener of this.listeners) push(listener, entry);
  }

  /** Events with ids above `after` (undefined: from now on), as they were committed, until the signal aborts. */
  async *listen(after: number | undefined, signal: AbortSignal): AsyncGenerator<readonly ClusterEvent[]> {
    const listener: Listener = { pending: [], count: 0, gap: false, wake: undefined };
    if (after !== undefined) this.resume(listener, after);
    const wake = (): void => listener.wake?.();
    this.listeners.add(listener);
    signal.addEventListener("abort", wake);
    try {
      while (!signal.aborted) {
        if (listener.gap) {
          listener.gap = false;
          yield [{ id: this.next - 1, at: this.kept.at(-1)?.at ?? 0, type: "gap" }];
        }
        const entries = listener.pending;
        listener.pending = [];
        listener.count = 0;
        for (const entry of entries) yield toEvents(entry, after);
        if (listener.pending.length === 0 && !listener.gap && !signal.aborted) {
          await new Promise<void>((resolve) => (listener.wake = resolve));
        }
      }
    } finally {
      this.listeners.delete(listener);
      signal.removeEventListener("abort", wake);
    }
  }

  private resume(listener: Listener, after: number): void {
    const oldest = this.kept[0]?.first ?? this.next;
    if (after + 1 < oldest || after >= this.next) {
      listener.gap = after !== this.next - 1;
      return;
    }
    for (const entry of this.kept) {
      if (entry.first + entry.news.length - 1 > after) push(listener, entry);
    }
  }
}

function push(listener: Listener, entry: Entry): void {
  if (listener.count + entry.news.length > PENDING_MAX) {
    listener.pending = [];
    listener.count = 0;
    listener.gap = true;
  } else {
    listener.pending.push(entry);
    listener.count += entry.news.length;
  }
  listener.wake?.();
}

function toEvents(entry: Entry, after: number | undefined): ClusterEvent[] {
  const events: ClusterEvent[] = [];
  for (const [index, news] of entry.news.entries()) {
    const id = entry.first + index;
    if (after === undefined || id > after) events.push(toEvent(id, entry.at, news));
  }
  return events;
}

function toEvent(id: number, at: number, news: News): ClusterEvent {
  if ("node" in news) return { id, at, type: "node", node: news.node.id, state: news.node.state, draining: news.node.draining };
  if ("progress" in news) return { id, at, type: "progress", task: taskId(news.progress.key), progress: news.progress.progress ?? {} };
  const { task } = news;
  const node = nodeOf(task);
  return {
    id,
    at,
    type: "task",
    task: taskId(task.key),
    state: task.state,
    reason: task.reason,
    seq: task.seq,
    attempt: task.attempt,
    ...(node !== undefined && { node }),
    ...(task.startedAt !== undefined && { startedAt: task.startedAt }),
    ...(task.result !== undefined && small(task.result) && { result: task.result }),
    ...(task.error !== undefined && { error: task.error }),
  };
}

/** A cheap look at a result's size: only strings and containers can be large. */
function small(result: unknown): boolean {
  if (typeof result === "string") return result.length <= EVENT_RESULT_BYTES_MAX;
  return typeof result !== "object" || result === null || JSON.stringify(result).length <= EVENT_RESULT_BYTES_MAX;
}
