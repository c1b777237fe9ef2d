/**
 * `npm run bench -- --restart`: 10,000 tasks wait, some run, and the coordinator is killed (-9). How long from the start of its
 * next process until the first waiting task has been given to a node, and until all have; and whether they are given out in
 * the order in which they waited: priority, then age.
 */
import { readFile } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import { openClient, type Client } from "@openclaw-cluster/contract/client/client";
import { nodeTransport } from "@openclaw-cluster/contract/client/node-transport";
import { NodeId, taskKey, type TaskId } from "@openclaw-cluster/contract/ids";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { startCluster } from "./cluster-under-test.ts";

const SLOTS = 64;
/** They run on the first node before the kill, and end after it. */
const RUNNING = 8;
const RUN_MS = 10_000;
/** The second node is drained until the coordinator is back: so the queue stands still. */
const BUSY_NODE = NodeId.parse("bench1");
const IDLE_NODE = NodeId.parse("bench2");
const LOOK_MS = 20;

export interface Restart {
  open: number;
  /** ms from the start of the process, a round each. */
  firstMs: number[];
  allMs: number[];
  inOrder: boolean;
  /** Of those that ran meanwhile: not succeeded in their first attempt. */
  disturbed: number;
}

export async function benchRestart(options: { rounds: number; open: number; say(text: string): void }): Promise<Restart> {
  const restart: Restart = { open: options.open, firstMs: [], allMs: [], inOrder: true, disturbed: 0 };
  for (let round = 1; round <= options.rounds; round++) {
    const cluster = await startCluster({ workers: 2, slots: SLOTS });
    const token = (await readFile(cluster.tokenFile, "utf8")).trim();
    const client = openClient({ url: cluster.url, token, transport: nodeTransport() });
    try {
      const one = await crash(client, options.open, () => cluster.crashCoordinator());
      restart.firstMs.push(one.firstMs);
      restart.allMs.push(one.allMs);
      restart.inOrder &&= one.inOrder;
      restart.disturbed += one.disturbed;
      options.say(`round ${round} of ${options.rounds}: first after ${Math.round(one.firstMs)} ms, all after ${Math.round(one.allMs)} ms`);
    } finally {
      await client.close();
      await cluster.end();
    }
  }
  return restart;
}

interface Round {
  /** By the coordinator's wall clock. */
  firstAt: number;
  firstMs: number;
  allMs: number;
  inOrder: boolean;
  disturbed: number;
}

/** `crashCoordinator`: kill -9, start, and resolve when it listens. */
export async function crash(client: Client, open: number, crashCoordinator: () => Promise<void>): Promise<Round> {
  await until(async () => (await client.nodes()).nodes.filter(({ state }) => state === "ready").length === 2);
  await client.drain({ id: IDLE_NODE });
  const ran = await client.submitMany(
    Array.from({ length: RUNNING }, (): TaskSpec => ({ kind: "echo", input: { delayMs: RUN_MS }, require: { nodes: [BUSY_NODE] } })),
  );
  await until(async () => (await client.cluster()).tasks.running === RUNNING);
  const waiting = await client.submitMany(
    Array.from({ length: open }, (_, n): TaskSpec => ({ kind: "echo", input: {}, priority: n % 10, require: { nodes: [IDLE_NODE] } })),
  );
  const before = await head(client);

  const from = Date.now();
  await crashCoordinator();
  const after = await head(client);
  const { given } = await follow(client, new Set(waiting.map(({ id }) => id)));
  await client.resume({ id: IDLE_NODE });
  const order = await given;
  const ended = await Promise.all(ran.map(({ id }) => client.getTask({ id, wait: (2 * RUN_MS) / 1_000 })));
  const wanted = waiting
    .map(({ id }, n) => ({ id, priority: n % 10 }))
    .toSorted((a, b) => b.priority - a.priority || taskKey(a.id) - taskKey(b.id));
  const firstAt = order[0]?.at ?? Number.NaN;
  return {
    firstAt,
    firstMs: firstAt - from,
    allMs: (order.at(-1)?.at ?? Number.NaN) - from,
    inOrder: before.join() === after.join() && order.map(({ id }) => id).join() === wanted.map(({ id }) => id).join(),
    disturbed: ended.filter(({ state, attempt }) => state !== "succeeded" || attempt !== 1).length,
  };
}

async function head(client: Client): Promise<TaskId[]> {
  return (await client.queue({ limit: LIMITS.listMax })).head.map(({ id }) => id);
}

interface Given {
  readonly id: TaskId;
  readonly at: number;
}

/** Listens to the feed; `given` resolves when each of these tasks has been leased, and tells in which order. */
async function follow(client: Client, tasks: ReadonlySet<TaskId>): Promise<{ given: Promise<Given[]> }> {
  let heard = false;
  const given = (async () => {
    const order: Given[] = [];
    for await (const event of client.events()) {
      heard = true;
      if (event.type === "gap") throw new Error("events are missing");
      if (event.type === "task" && event.state === "leased" && tasks.has(event.task)) order.push({ id: event.task, at: event.at });
      if (order.length === tasks.size) break;
    }
    return order;
  })();
  // Any event shows that it listens; this makes one.
  await Promise.race([
    given,
    until(async () => {
      await client.patchNode({ id: IDLE_NODE, labels: { listens: "yes" } });
      return heard;
    }),
  ]);
  return { given };
}

async function until(fits: () => Promise<boolean>): Promise<void> {
  while (!(await fits())) await pause(LOOK_MS);
}
