/**
 * A cluster's event feed as a test hears it.
 *
 * T1. A gap is an error: what was left out may be the very thing that the test looks for.
 */
import { setTimeout as pause } from "node:timers/promises";
import type { Client } from "@openclaw-cluster/contract/client/client";
import type { ClusterEvent, TaskEvent } from "@openclaw-cluster/contract/events";
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import type { NodeState } from "@openclaw-cluster/contract/node";
import { TERMINAL, type TaskState } from "@openclaw-cluster/contract/task";
import { until } from "./daemon.ts";

/** From an answer to its news. */
const TOLD_MS = 20;

export interface Feed {
  /** Since the feed was opened, in the order of their commits. */
  readonly events: readonly ClusterEvent[];
  /** Resolves when what is committed from now on is heard; runs tasks of its own for it. */
  open(): Promise<void>;
  /** Resolves when everything was heard that was committed before; runs a task of its own for it. */
  hearOut(): Promise<void>;
  /** Rejects if the feed had broken. */
  end(): Promise<void>;
}

export function listen(client: Client): Feed {
  const events: ClusterEvent[] = [];
  const leave = new AbortController();
  let fault: unknown;
  const hear = async (): Promise<void> => {
    for await (const event of client.events({ signal: leave.signal })) {
      if (event.type === "gap") throw new Error("the feed has left something out");
      events.push(event);
    }
  };
  const hearing = hear().catch((error: unknown) => (fault = error));
  const isOver = (id: TaskId): boolean =>
    events.findLast((event) => event.type === "task" && event.task === id && TERMINAL.has(event.state)) !== undefined;
  const echo = async (): Promise<TaskId> => (await client.run({ kind: "echo", input: {} })).id;
  const untilHeard = async (what: string, isHeard: () => boolean | Promise<boolean>): Promise<void> => {
    await until(what, async () => (fault !== undefined || (await isHeard()) ? true : undefined));
    if (fault !== undefined) throw fault;
  };
  return {
    events,
    async open() {
      await untilHeard("the feed is open", async () => {
        const id = await echo();
        await pause(TOLD_MS);
        return isOver(id);
      });
    },
    async hearOut() {
      const id = await echo();
      await untilHeard("the feed has told everything", () => isOver(id));
    },
    async end() {
      leave.abort();
      await hearing;
      if (fault !== undefined) throw fault;
    },
  };
}

export function taskEvents(events: readonly ClusterEvent[]): TaskEvent[] {
  return events.filter((event) => event.type === "task");
}

/** Every end that was told of a task. */
export function endsOf(events: readonly ClusterEvent[]): Map<TaskId, TaskState[]> {
  const ends = Map.groupBy(
    taskEvents(events).filter(({ state }) => TERMINAL.has(state)),
    ({ task }) => task,
  );
  return new Map([...ends].map(([task, its]) => [task, its.map(({ state }) => state)]));
}

/** What was told of a node, without what was told again. */
export function statesOf(events: readonly ClusterEvent[], node: NodeId): (NodeState | "removed")[] {
  const states = events.flatMap((event) => (event.type === "node" && event.node === node ? [event.state] : []));
  return states.filter((state, at) => state !== states[at - 1]);
}
