/**
 * `npm run bench -- --flood`: single submits at a fixed rate, far more than the coordinator can take, while one worker
 * carries out what is let in and a bystander asks its own small questions. What was let in, refused and not answered, how
 * long it took, what it cost in memory; and whether everything that was let in is there in the end, and ended well.
 */
import { readFile } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { openClient, type Client } from "@openclaw-cluster/contract/client/client";
import { nodeTransport } from "@openclaw-cluster/contract/client/node-transport";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { taskKey } from "@openclaw-cluster/contract/ids";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import { run } from "../child.ts";
import { startCluster } from "./cluster-under-test.ts";
import type { Flooded } from "./flooder.ts";
import { percentiles, type Percentiles } from "./percentiles.ts";
import { rssMiB } from "./usage.ts";

const FLOODER = fileURLToPath(new URL("./flooder.ts", import.meta.url));
/** Below what the coordinator takes of one address (connections.ts), so that others can still connect. */
const CONNECTIONS = 700;
const SLOTS = 64;
const LOOK_MS = 250;
const ASK_MS = 50;
/** A fresh program runs at half its speed until its code is compiled. */
const WARM_UP = { rate: 2_000, seconds: 5 };

export interface Flood extends Flooded {
  rate: number;
  /** Resident memory of the coordinator, twice a second from the flood's start to its last answer. */
  coordinatorMiB: number[];
  /** Reads by another program meanwhile, each on a connection that it keeps; and those that failed. */
  readMs: Percentiles;
  readsFailed: number;
  /** Of those let in: not to be found, and not succeeded. */
  lost: number;
  failed: number;
  /** From the last answer until everything had ended. */
  drainedMs: number;
}

export interface FloodTarget {
  readonly url: string;
  readonly tokenFile: string;
  readonly coordinator: number;
}

export async function benchFlood({
  rates,
  seconds,
  say,
}: {
  rates: readonly number[];
  seconds: number;
  say(text: string): void;
}): Promise<Flood[]> {
  const floods: Flood[] = [];
  for (const rate of rates) {
    const cluster = await startCluster({ workers: 1, slots: SLOTS });
    try {
      const target = { ...cluster, coordinator: cluster.pids.coordinator };
      say("warm-up …");
      await flood(target, WARM_UP);
      say(`${rate} submits a second for ${seconds} s …`);
      floods.push(await flood(target, { rate, seconds }));
    } finally {
      await cluster.end();
    }
  }
  return floods;
}

export async function flood(target: FloodTarget, { rate, seconds }: { rate: number; seconds: number }): Promise<Flood> {
  const token = (await readFile(target.tokenFile, "utf8")).trim();
  const client = openClient({ url: target.url, token, transport: nodeTransport() });
  try {
    const options = { url: target.url, "token-file": target.tokenFile, rate, seconds, connections: CONNECTIONS };
    const argv = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
    const sender = run(process.execPath, [FLOODER, ...argv]);
    await sender.says(/floods/);
    const watched = watch(client, target.coordinator, sender.output());
    const seen = JSON.parse((await sender.output()).replace(/^.*\n/, "")) as Flooded;
    const beside = await watched;
    const answeredAt = performance.now();
    await drained(client);
    const drainedMs = performance.now() - answeredAt;
    return { ...seen, rate, ...beside, ...(await check(client, seen.keys)), drainedMs };
  } finally {
    await client.close();
  }
}

/** Until the promise is done. */
async function watch(
  client: Client,
  pid: number,
  until: Promise<unknown>,
): Promise<Pick<Flood, "coordinatorMiB" | "readMs" | "readsFailed">> {
  let over = false;
  const end = until.finally(() => (over = true));
  const coordinatorMiB: number[] = [];
  const readMs: number[] = [];
  let readsFailed = 0;
  const look = async (): Promise<void> => {
    for (; !over; await pause(LOOK_MS)) coordinatorMiB.push(await rssMiB(pid));
  };
  const ask = async (): Promise<void> => {
    for (; !over; await pause(ASK_MS)) {
      const from = performance.now();
      try {
        await client.queue();
        readMs.push(performance.now() - from);
      } catch (error) {
        if (!(error instanceof ClusterError)) throw error;
        readsFailed += 1;
      }
    }
  };
  await Promise.all([end, look(), ask()]);
  return { coordinatorMiB, readMs: percentiles(readMs), readsFailed };
}

async function drained(client: Client): Promise<void> {
  for (;;) {
    const { tasks } = await client.cluster();
    if ((tasks.queued ?? 0) + (tasks.leased ?? 0) + (tasks.running ?? 0) === 0) return;
    await pause(LOOK_MS);
  }
}

async function check(client: Client, keys: Flooded["keys"]): Promise<{ lost: number; failed: number }> {
  const admitted = new Set(keys.flatMap(([first, count]) => Array.from({ length: count }, (_, index) => first + index)));
  let failed = 0;
  for (let cursor: number | undefined, more = true; more; more = cursor !== undefined) {
    const page = await client.listTasks({ limit: LIMITS.listMax, ...(cursor !== undefined && { cursor }) });
    for (const { id, state } of page.tasks) if (admitted.delete(taskKey(id)) && state !== "succeeded") failed += 1;
    cursor = page.next;
  }
  return { lost: admitted.size, failed };
}
