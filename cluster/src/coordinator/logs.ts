/**
 * A task's output: its attempts one after the other, each read from where its node keeps it, until there can be no more.
 *
 * L1. Only what the node wrote to which an attempt was given is read. A node writes what it likes under its own subjects, also
 *     under another's task; nobody looks there.
 * L2. Pieces come in the order of `attempt.n`, each once, so that a reader can go on after any of them.
 * L3. An attempt's output is whole with its last piece. One that never writes it, as its node is gone, has LATE_MS from the
 *     moment that its task has gone on; what comes later is there for those who read afterwards.
 */
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import type { Attempt } from "@openclaw-cluster/contract/task";
import { OutputChunk } from "@openclaw-cluster/contract/wire";
import type { Bus } from "../bus/bus.ts";
import { outputOf } from "../bus/subjects.ts";
import { isTerminal, type TaskRecord } from "../core/task.ts";
import type { Clock } from "../system/clock.ts";

export interface LogSource {
  readonly bus: Bus;
  readonly clock: Clock;
  /** The record as it is now. */
  record(): Promise<TaskRecord>;
  attempts(): Promise<readonly Attempt[]>;
  /** Resolves when an attempt after this one is given away, or the task is over. */
  past(attempt: number, signal: AbortSignal): Promise<void>;
}

export interface LogOptions {
  readonly follow: boolean;
  readonly attempt?: number;
  readonly signal: AbortSignal;
}

const LATE_MS = 1_000;

/** Chunks of one attempt or of all; with `follow` until the task is over. */
export async function* readLogs(id: TaskId, source: LogSource, options: LogOptions): AsyncGenerator<OutputChunk> {
  const { follow, attempt: only, signal } = options;
  for (let read = 0; !signal.aborted;) {
    const { state, attempt: newest } = await source.record();
    const attempts = (await source.attempts()).filter(({ n, outcome }) => n > read && (only ?? n) === n && outcome !== "refused");
    for (const { n, node } of attempts) {
      yield* readAttempt(new Reading(id, n, node, source), follow && n >= newest, signal);
      read = n;
    }
    const isAllThereWillBe = isTerminal(state) || (only !== undefined && only <= Math.max(read, newest - 1));
    if (!follow || isAllThereWillBe) return;
    await source.past(Math.max(read, newest), signal);
  }
}

async function* readAttempt(reading: Reading, follow: boolean, signal: AbortSignal): AsyncGenerator<OutputChunk> {
  if (follow) yield* reading.untilPast(signal);
  // Also after that: whoever reads slowly has only begun when the task is over.
  if (!reading.isWhole) yield* reading.go({ follow: false, signal });
}

/** One attempt, and how far it is read. */
class Reading {
  /** Its last piece was read. */
  isWhole = false;
  private readonly ref: { readonly task: TaskId; readonly attempt: number };
  private readonly node: NodeId;
  private readonly source: LogSource;
  private seen = -1;

  constructor(task: TaskId, attempt: number, node: NodeId, source: LogSource) {
    this.ref = { task, attempt };
    this.node = node;
    this.source = source;
  }

  async *untilPast(signal: AbortSignal): AsyncGenerator<OutputChunk> {
    const { source } = this;
    const done = new AbortController();
    const until = AbortSignal.any([done.signal, signal]);
    let isPast = false;
    const end = (): void => {
      if (isPast && this.isWhole) done.abort();
    };
    const watching = source.past(this.ref.attempt, until).then(() => {
      isPast = true;
      end();
      source.clock.after(LATE_MS, () => done.abort());
    });
    watching.catch(() => done.abort());
    try {
      for await (const chunk of this.go({ follow: true, signal: until })) {
        yield chunk;
        end();
      }
    } finally {
      done.abort();
    }
  }

  async *go(options: { follow: boolean; signal: AbortSignal }): AsyncGenerator<OutputChunk> {
    const { task, attempt } = this.ref;
    for await (const { body } of this.source.bus.read(outputOf(this.node, task, attempt), options)) {
      const { success, data: chunk } = OutputChunk.safeParse(body);
      if (!success || chunk.task !== task || chunk.attempt !== attempt || chunk.n <= this.seen) continue;
      this.seen = chunk.n;
      if (chunk.last === true) this.isWhole = true;
      yield chunk;
    }
  }
}
