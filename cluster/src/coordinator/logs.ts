/**
 * A task's output, read from the bus's kept stream and ended when there can be no more.
 *
 * L1. A node writes what it likes under its own subjects, also under another's task. A piece counts only if its sender ran
 *     the attempt that it speaks of; the others are nobody's output, and end nothing.
 */
import { taskId, type NodeId } from "@openclaw-cluster/contract/ids";
import { OutputChunk } from "@openclaw-cluster/contract/wire";
import type { Bus, Kept } from "../bus/bus.ts";
import { attemptOf, outputOfTask, senderOf } from "../bus/subjects.ts";
import type { TaskRecord } from "../core/task.ts";
import type { Clock } from "../system/clock.ts";

export interface LogSource {
  readonly bus: Bus;
  readonly clock: Clock;
  /** The record as it is now. */
  record(): Promise<TaskRecord>;
  /** The node that an attempt was given to; undefined where there is none of that number. */
  ranOn(attempt: number): Promise<NodeId | undefined>;
  /** A node has written output under an attempt that is another's. */
  forged(node: NodeId): void;
  /** Resolves when the task is over. */
  over(signal: AbortSignal): Promise<void>;
}

/** After the task's end, output that is still on its way has this long to arrive. */
const LATE_MS = 1_000;

/** Chunks of one attempt or of all, in order; with `follow` until the task is over and its last chunk was seen. */
export async function* readLogs(
  key: number,
  source: LogSource,
  options: { follow: boolean; attempt?: number; signal: AbortSignal },
): AsyncGenerator<OutputChunk> {
  const done = new AbortController();
  const signal = AbortSignal.any([done.signal, options.signal]);
  const seenLast = new Set<number>();
  let over: TaskRecord | undefined;
  const end = (): void => {
    if (over !== undefined && (over.attempt === 0 || seenLast.has(over.attempt))) done.abort();
  };
  const watching = options.follow
    ? source.over(signal).then(async () => {
        over = await source.record();
        end();
        source.clock.after(LATE_MS, () => done.abort());
      })
    : undefined;
  watching?.catch(() => done.abort());
  const own = ownOutput(source);
  try {
    for await (const kept of source.bus.read(outputOfTask(taskId(key), options.attempt), { follow: options.follow, signal })) {
      const chunk = await own(kept);
      if (chunk === undefined) continue;
      yield chunk;
      if (chunk.last === true) seenLast.add(chunk.attempt);
      end();
    }
  } finally {
    done.abort();
  }
}

/** L1 */
function ownOutput(source: LogSource): (kept: Kept) => Promise<OutputChunk | undefined> {
  /** An attempt's node is known for good. */
  const known = new Map<number, NodeId>();
  return async ({ subject, body }) => {
    const { task, attempt } = attemptOf(subject);
    const chunk = OutputChunk.safeParse(body);
    if (!chunk.success || chunk.data.task !== task || chunk.data.attempt !== attempt) return undefined;
    const node = known.get(attempt) ?? (await source.ranOn(attempt));
    if (node === undefined) return undefined;
    known.set(attempt, node);
    if (node === senderOf(subject)) return chunk.data;
    source.forged(senderOf(subject));
    return undefined;
  };
}
