/**
 * Listens to a cluster while a fault is at work, and judges what became of the tasks (DESIGN §6, G1 to G3).
 *
 * V1. Every task that was accepted is there, and ends.
 * V2. None ends twice.
 * V3. Of its attempts, numbered from 1 without a gap, at most one has its result accepted, and that is the last one.
 */
import type { Client } from "@openclaw-cluster/contract/client/client";
import type { TaskEvent } from "@openclaw-cluster/contract/events";
import type { TaskId } from "@openclaw-cluster/contract/ids";
import { TERMINAL } from "@openclaw-cluster/contract/task";
import { until } from "./daemon.ts";

export interface Verdict {
  readonly lost: readonly TaskId[];
  readonly endedTwice: readonly TaskId[];
  readonly acceptedWrongly: readonly TaskId[];
}

export const SPOTLESS: Verdict = { lost: [], endedTwice: [], acceptedWrongly: [] };

export interface Watch {
  /** Of tasks, since the watch began. */
  readonly events: readonly TaskEvent[];
  /** How often nodes were lost under these, the worst of them. From their attempts: the feed does not tell a loss whose task is placed anew at once. */
  lossesMax(tasks: readonly TaskId[]): Promise<number>;
  /** Waits for each task's end, and for the news of it; then the watch is over. */
  judge(tasks: readonly TaskId[]): Promise<Verdict>;
  end(): Promise<void>;
}

/** A task that has not ended by then counts as lost. */
const END_S = 60;

export function watchTasks(client: Client): Watch {
  const events: TaskEvent[] = [];
  const leave = new AbortController();
  const listening = (async () => {
    try {
      for await (const event of client.events({ types: ["task"], signal: leave.signal })) if (event.type === "task") events.push(event);
    } catch (error) {
      if (!leave.signal.aborted) throw error;
    }
  })();
  const end = (): Promise<void> => (leave.abort(), listening);
  const endsOf = (task: TaskId): number => events.filter((event) => event.task === task && TERMINAL.has(event.state)).length;
  return {
    events,
    end,
    async lossesMax(tasks) {
      const all = await Promise.all(tasks.map((id) => client.attempts({ id })));
      return Math.max(...all.map(({ attempts }) => attempts.filter(({ outcome }) => outcome === "lost").length));
    },
    async judge(tasks) {
      const lost: TaskId[] = [];
      const acceptedWrongly: TaskId[] = [];
      for (const id of tasks) {
        const { state } = await client.getTask({ id, wait: END_S });
        if (!TERMINAL.has(state)) lost.push(id);
        const { attempts } = await client.attempts({ id });
        const accepted = attempts.flatMap(({ outcome }, at) => (outcome === "succeeded" ? [at] : []));
        const inOrder = attempts.every(({ n }, at) => n === at + 1);
        if (!inOrder || accepted.length > 1 || (accepted.length === 1 && accepted[0] !== attempts.length - 1)) acceptedWrongly.push(id);
      }
      // The feed tells in the order of commits: behind the end of a further task nothing is to come about these.
      const { id } = await client.run({ kind: "echo", input: {} });
      await until("the feed has told everything", () => endsOf(id) > 0 || undefined);
      await end();
      return { lost, endedTwice: tasks.filter((task) => endsOf(task) > 1), acceptedWrongly };
    },
  };
}
