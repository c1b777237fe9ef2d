/** A task's output, read from the bus's kept stream and ended when there can be no more. */
import { taskId } from "@openclaw-cluster/contract/ids";
import { OutputChunk } from "@openclaw-cluster/contract/wire";
import type { Bus } from "../bus/bus.ts";
import { outputOfTask } from "../bus/subjects.ts";
import type { TaskRecord } from "../core/task.ts";
import type { Clock } from "../system/clock.ts";

export interface LogSource {
  readonly bus: Bus;
  readonly clock: Clock;
  /** The record as it is now. */
  record(): Promise<TaskRecord>;
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
  try {
    for await (const body of source.bus.read(outputOfTask(taskId(key), options.attempt), { follow: options.follow, signal })) {
      const chunk = OutputChunk.safeParse(body);
      if (!chunk.success) continue;
      yield chunk.data;
      if (chunk.data.last === true) seenLast.add(chunk.data.attempt);
      end();
    }
  } finally {
    done.abort();
  }
}
