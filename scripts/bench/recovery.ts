/**
 * `npm run bench -- --recovery`: 200 tasks of 200 ms on two workers with 8 slots each; one worker's process is killed (-9) at
 * a random moment, again and again. How long until the coordinator has taken its tasks back, and until each of them has
 * started on the other node; and whether any was lost or accepted twice.
 */
import { readFile } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import { openClient, type Client } from "@openclaw-cluster/contract/client/client";
import { nodeTransport } from "@openclaw-cluster/contract/client/node-transport";
import type { TaskEvent } from "@openclaw-cluster/contract/events";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { startCluster, type ClusterUnderTest } from "./cluster-under-test.ts";
import { percentiles, type Percentiles } from "./percentiles.ts";

const TASKS = 200;
const TASK_MS = 200;
const SLOTS = 8;
/** The work takes 2.5 s undisturbed; the blow falls while both nodes are busy. */
const STRIKE_MS = [200, 1_500] as const;
const READY_MS = 100;

export interface Recovery {
  rounds: number;
  /** Tasks that the killed workers held, all rounds together. */
  struck: number;
  /** Tasks that did not succeed, and tasks whose success was told more than once. */
  lost: number;
  acceptedTwice: number;
  /** ms from the kill, by this machine's clock. */
  requeuedMs: Percentiles;
  startedAgainMs: Percentiles;
}

export async function benchRecovery({ rounds, say }: { rounds: number; say(text: string): void }): Promise<Recovery> {
  const cluster = await startCluster({ workers: 2, slots: SLOTS });
  const token = (await readFile(cluster.tokenFile, "utf8")).trim();
  const client = openClient({ url: cluster.url, token, transport: nodeTransport() });
  try {
    const seen: Round[] = [];
    for (let round = 1; round <= rounds; round++) {
      await bothReady(client);
      const one = await strike(cluster, client);
      seen.push(one);
      say(`round ${round} of ${rounds}: ${one.requeuedMs.length} tasks struck, taken back after ${Math.max(...one.requeuedMs)} ms`);
    }
    const sum = (of: (round: Round) => number): number => seen.reduce((total, round) => total + of(round), 0);
    return {
      rounds,
      struck: sum(({ requeuedMs }) => requeuedMs.length),
      lost: sum(({ lost }) => lost),
      acceptedTwice: sum(({ acceptedTwice }) => acceptedTwice),
      requeuedMs: percentiles(seen.flatMap(({ requeuedMs }) => requeuedMs)),
      startedAgainMs: percentiles(seen.flatMap(({ startedAgainMs }) => startedAgainMs)),
    };
  } finally {
    await client.close();
    await cluster.end();
  }
}

interface Round {
  lost: number;
  acceptedTwice: number;
  requeuedMs: number[];
  startedAgainMs: number[];
}

async function strike(cluster: ClusterUnderTest, client: Client): Promise<Round> {
  const events: TaskEvent[] = [];
  const leave = new AbortController();
  const listening = (async () => {
    try {
      for await (const event of client.events({ types: ["task"], signal: leave.signal })) if (event.type === "task") events.push(event);
    } catch (error) {
      if (!leave.signal.aborted) throw error;
    }
  })();
  const spec: TaskSpec = { kind: "echo", input: { delayMs: TASK_MS } };
  const running = client.runMany(Array.from({ length: TASKS }, () => spec));
  const [from, to] = STRIKE_MS;
  await pause(from + Math.random() * (to - from));
  const killedAt = Date.now();
  await cluster.workers[0]?.end("SIGKILL");
  const ended = await running;
  leave.abort();
  await listening;
  await cluster.restartWorker(0);
  const since = (found: readonly TaskEvent[]): number[] => found.map(({ at }) => at - killedAt);
  const taken = events.filter(({ state, reason }) => state === "queued" && reason === "node_lost");
  const struck = new Set(taken.map(({ task }) => task));
  const successes = Map.groupBy(
    events.filter(({ state }) => state === "succeeded"),
    ({ task }) => task,
  );
  return {
    lost: ended.filter(({ state }) => state !== "succeeded").length,
    acceptedTwice: [...successes.values()].filter((told) => told.length > 1).length,
    requeuedMs: since(taken),
    startedAgainMs: since(events.filter(({ task, state, attempt }) => struck.has(task) && state === "running" && attempt > 1)),
  };
}

async function bothReady(client: Client): Promise<void> {
  while ((await client.nodes()).nodes.filter(({ state }) => state === "ready").length < 2) await pause(READY_MS);
}
