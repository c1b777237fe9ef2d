/**
 * `npm run bench -- --recovery`: 200 tasks of 200 ms on two workers with 8 slots each; at a random moment one of them is
 * struck, again and again: its processes are killed (-9), or its network is cut. How long until the coordinator has taken
 * its tasks back, and until each of them has started on the other node; and whether any was lost or accepted twice.
 *
 * The cut needs a network of its own (root and iproute2); where there can be none, it is left out with the reason.
 */
import { readFile } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import { openClient, type Client } from "@openclaw-cluster/contract/client/client";
import { nodeTransport } from "@openclaw-cluster/contract/client/node-transport";
import { NodeId } from "@openclaw-cluster/contract/ids";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { coursesOf, measure } from "../../cluster/src/cli/drill/verdict.ts";
import { listen } from "../../tests/support/feed.ts";
import { openHosts, whyNoHosts, type Host } from "../../tests/support/hosts.ts";
import type { Running } from "../child.ts";
import { startCluster, type ClusterUnderTest } from "./cluster-under-test.ts";
import { percentiles, type Percentiles } from "./percentiles.ts";
import { treeOf } from "./usage.ts";

const TASKS = 200;
const TASK_MS = 200;
const SLOTS = 8;
const STRUCK = NodeId.parse("bench1");
/** The work takes 2.5 s undisturbed; the blow falls while both nodes are busy. */
const STRIKE_MS = [200, 1_500] as const;
const READY_MS = 100;

export interface Recovery {
  killed: Recovered;
  /** Or why nothing was cut. */
  cut: Recovered | string;
}

export interface Recovered {
  rounds: number;
  /** Tasks that the struck workers held, all rounds together. */
  struck: number;
  /** Tasks of which no success was told, and tasks of which more than one was. */
  lost: number;
  acceptedTwice: number;
  /** ms from the blow, by this machine's clock. */
  requeuedMs: Percentiles;
  startedAgainMs: Percentiles;
}

/** What strikes the first worker, and what brings it back. */
interface Blow {
  /** Resolves with the moment of the blow. */
  strike(): Promise<number>;
  mend(): Promise<void>;
}

export async function benchRecovery({ rounds, say }: { rounds: number; say(text: string): void }): Promise<Recovery> {
  const whyNot = whyNoHosts();
  const hosts = whyNot === undefined ? await openHosts() : undefined;
  let host: Host | undefined;
  try {
    const cluster = await startCluster({
      workers: 2,
      slots: SLOTS,
      place: async (worker, ports) => (worker === 0 ? (host = await hosts?.add("struck", ports))?.inside : undefined),
    });
    const token = (await readFile(cluster.tokenFile, "utf8")).trim();
    const client = openClient({ url: cluster.url, token, transport: nodeTransport() });
    const repeat = async (what: string, blow: Blow): Promise<Recovered> => {
      const seen: Round[] = [];
      for (let round = 1; round <= rounds; round++) {
        const one = await strike(client, blow);
        seen.push(one);
        say(
          `${what}, round ${round} of ${rounds}: ${one.requeuedMs.length} tasks struck, started again after ${Math.max(...one.startedAgainMs)} ms`,
        );
      }
      return summary(seen);
    };
    try {
      await bothReady(client);
      const killed = await repeat("killed", killOf(cluster));
      return { killed, cut: host === undefined ? (whyNot ?? "") : await repeat("cut off", cutOf(host)) };
    } finally {
      await client.close();
      await cluster.end();
    }
  } finally {
    await hosts?.end();
  }
}

/** Its whole process tree, so that nothing of it can report what it had done. */
function killOf(cluster: ClusterUnderTest): Blow {
  return {
    strike: async () => {
      const worker = cluster.workers[0] as Running;
      const tree = (await treeOf(worker.pid)).toReversed();
      const at = Date.now();
      for (const pid of tree) process.kill(pid, "SIGKILL");
      await worker.ended();
      return at;
    },
    mend: () => cluster.restartWorker(0),
  };
}

function cutOf(host: Host): Blow {
  return {
    strike: async () => {
      const at = Date.now();
      await host.cut();
      return at;
    },
    mend: () => host.heal(),
  };
}

interface Round {
  lost: number;
  acceptedTwice: number;
  requeuedMs: number[];
  startedAgainMs: number[];
}

async function strike(client: Client, blow: Blow): Promise<Round> {
  const feed = listen(client);
  const spec: TaskSpec = { kind: "echo", input: { delayMs: TASK_MS } };
  const running = client.runMany(Array.from({ length: TASKS }, () => spec));
  const [from, to] = STRIKE_MS;
  await pause(from + Math.random() * (to - from));
  const struckAt = await blow.strike();
  const tasks = new Set((await running).map(({ id }) => id));
  await blow.mend();
  // What it tells late, when it is back, must not count either.
  await bothReady(client);
  await feed.hearOut();
  await feed.end();
  const fall = [feed.events, tasks, { node: STRUCK, at: struckAt }] as const;
  const { lost, acceptedTwice } = measure(...fall);
  const courses = coursesOf(...fall);
  return {
    lost,
    acceptedTwice,
    requeuedMs: courses.flatMap(({ takenBackMs }) => takenBackMs ?? []),
    startedAgainMs: courses.flatMap(({ startedAgainMs }) => startedAgainMs ?? []),
  };
}

function summary(seen: readonly Round[]): Recovered {
  const sum = (of: (round: Round) => number): number => seen.reduce((total, round) => total + of(round), 0);
  return {
    rounds: seen.length,
    struck: sum(({ requeuedMs }) => requeuedMs.length),
    lost: sum(({ lost }) => lost),
    acceptedTwice: sum(({ acceptedTwice }) => acceptedTwice),
    requeuedMs: percentiles(seen.flatMap(({ requeuedMs }) => requeuedMs)),
    startedAgainMs: percentiles(seen.flatMap(({ startedAgainMs }) => startedAgainMs)),
  };
}

/** Both are heard, and the coordinator has judged whatever they had kept for it. */
async function bothReady(client: Client): Promise<void> {
  for (;;) {
    const { nodes } = await client.nodes();
    if (nodes.filter(({ state, load }) => state === "ready" && load?.held === 0).length === 2) return;
    await pause(READY_MS);
  }
}
