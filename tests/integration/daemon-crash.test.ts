/**
 * Ten thousand tasks over two workers, in good order and with every process of the cluster killed in their midst. What
 * was answered is never lost (G1), ends once (G2), and a submit that is repeated makes nothing twice (G4).
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "@openclaw-cluster/contract/client/client";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { TERMINAL, type Task } from "@openclaw-cluster/contract/task";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { afterAll, beforeAll, expect, test } from "vitest";
import { rssMiB } from "../../scripts/bench/usage.ts";
import { startCluster, until, type TestCluster, type TestDaemon } from "../support/daemon.ts";
import { endsOf, listen, statesOf } from "../support/feed.ts";
import { listAll } from "../support/promises.ts";

const TASKS = 10_000;
/** Submits that wait for their answer together. */
const IN_FLIGHT = 500;
/** Of any one process, with ten thousand tasks behind it. */
const RSS_MIB_MAX = 350;
const PAGE = 500;
/** Silence after which a node is lost is 13 s; a cluster that lost any process must be done well before that counts twice. */
const DONE_MS = 45_000;

let cluster: TestCluster;
let workers: readonly TestDaemon[];
beforeAll(async () => {
  cluster = await startCluster();
  workers = [await cluster.addWorker("one", { slots: 64 }), await cluster.addWorker("two", { slots: 64 })];
});
afterAll(() => cluster?.end());

const echo = (value: number, batch: string, delayMs?: number): TaskSpec => ({
  kind: "echo",
  input: { value, ...(delayMs !== undefined && { delayMs }) },
  labels: { batch },
});

/** Submits them all, a few at a time; gives the ids by their values. */
async function submitAll(
  client: Client,
  specs: readonly TaskSpec[],
  onAnswer: (answered: number) => void = () => undefined,
): Promise<Map<string, number>> {
  const ids = new Map<string, number>();
  let next = 0;
  const takeTurns = async (): Promise<void> => {
    for (let at = next++; at < specs.length; at = next++) {
      const { id } = await client.submit(specs[at] as TaskSpec);
      ids.set(id, at);
      onAnswer(ids.size);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, takeTurns));
  return ids;
}

/** Every task that was answered has succeeded with its own value, and there is no other. */
async function expectAllSucceeded(batch: string, ids: ReadonlyMap<string, number>): Promise<readonly Task[]> {
  await until(
    `nothing of ${batch} is live`,
    async () => {
      const { tasks } = await cluster.client.cluster();
      return (Object.keys(tasks) as Task["state"][]).every((state) => TERMINAL.has(state) || tasks[state] === 0) ? true : undefined;
    },
    DONE_MS,
  );
  const tasks = await listAll(cluster.client, `batch=${batch}`);
  expect(new Set(tasks.map(({ state }) => state))).toEqual(new Set(["succeeded"]));
  expect(tasks).toHaveLength(ids.size);
  expect(tasks.filter(({ id, result }) => ids.get(id) !== result)).toEqual([]);
  return tasks;
}

async function memory(): Promise<number[]> {
  return Promise.all([cluster.lead.pid, await cluster.natsPid(), ...workers.map(({ pid }) => pid)].map(rssMiB));
}

test("10,000 tasks over two workers: all succeed, each ends once, memory is bounded", async () => {
  const feed = listen(cluster.client);
  const ids = await submitAll(
    cluster.client,
    Array.from({ length: TASKS }, (_, n) => echo(n, "calm")),
  );
  const tasks = await expectAllSucceeded("calm", ids);
  expect(ids.size).toBe(TASKS);
  expect(tasks.filter(({ attempt }) => attempt !== 1)).toEqual([]);

  const { nodes } = await cluster.client.nodes();
  expect(nodes.map(({ succeeded, failed }) => succeeded + failed).reduce((sum, count) => sum + count)).toBe(TASKS);
  for (const { succeeded } of nodes) expect(succeeded).toBeGreaterThan(0);
  await feed.hearOut();
  await feed.end();
  const ends = endsOf(feed.events);
  expect(tasks.filter(({ id }) => ends.get(id)?.length !== 1)).toEqual([]);
  for (const mib of await memory()) expect(mib).toBeLessThan(RSS_MIB_MAX);
});

/** Kills something when a third of the submits is answered; gives everything that was answered in the end. */
async function submitAndStrike(
  batch: string,
  strike: () => Promise<void>,
  delayMs?: number,
  count = TASKS,
): Promise<ReadonlyMap<string, number>> {
  let struck: Promise<void> | undefined;
  const specs = Array.from({ length: count }, (_, n) => echo(n, batch, delayMs));
  const ids = await submitAll(cluster.client, specs, (answered) => {
    if (answered > count / 3) struck ??= strike();
  });
  await struck;
  return ids;
}

test("kill -9 of the coordinator in their midst: everything answered ends, nothing is made twice", async () => {
  const before = (await cluster.client.cluster()).epoch;
  const ids = await submitAndStrike("coordinator", async () => {
    await cluster.lead.kill();
    await cluster.lead.start();
  });
  await expectAllSucceeded("coordinator", ids);
  expect(ids.size).toBe(TASKS);
  expect((await cluster.client.cluster()).epoch).toBe(before + 1);
});

test("kill -9 of nats-server in their midst", async () => {
  const first = await cluster.natsPid();
  const ids = await submitAndStrike("nats", async () => void process.kill(first, "SIGKILL"));
  await expectAllSucceeded("nats", ids);
  expect(await cluster.natsPid()).not.toBe(first);
});

test("kill -9 of the coordinator and its nats-server at once", async () => {
  const ids = await submitAndStrike("both", async () => {
    process.kill(await cluster.natsPid(), "SIGKILL");
    await cluster.lead.kill();
    await cluster.lead.start();
  });
  await expectAllSucceeded("both", ids);
});

test("kill -9 of a worker in its midst, and its restart", async () => {
  const [one] = workers as [TestDaemon, TestDaemon];
  const ids = await submitAndStrike(
    "worker",
    async () => {
      await one.kill();
      await one.start();
    },
    20,
    3_000,
  );
  const tasks = await expectAllSucceeded("worker", ids);
  // What it held was lost with it and ran again, which no retry was spent for.
  const again = tasks.filter(({ attempt }) => attempt > 1);
  expect(again.length).toBeGreaterThan(0);
  const { attempts } = await cluster.client.attempts({ id: again[0]!.id });
  expect(attempts).toMatchObject([{ n: 1, node: "one", outcome: "lost" }, { outcome: "succeeded" }]);
});

test("kill -9 of everything at once, and a start on the same homes", async () => {
  const ids = await submitAndStrike(
    "everything",
    async () => {
      await Promise.all([cluster.lead.kill(), ...workers.map((worker) => worker.kill())]);
      await cluster.lead.start();
      await Promise.all(workers.map((worker) => worker.start()));
    },
    20,
    3_000,
  );
  await expectAllSucceeded("everything", ids);
  for (const mib of await memory()) expect(mib).toBeLessThan(RSS_MIB_MAX);
});

test("kill -9 of a worker that does not come back: the other one takes its work over", async () => {
  const [one] = workers as [TestDaemon, TestDaemon];
  const slow = { ...echo(0, "orphans", 3_000), require: { nodes: ["one", "two"] } } as TaskSpec;
  const submitted = await cluster.client.submitMany(Array.from({ length: 100 }, () => slow));
  const running = async (): Promise<readonly Task[]> =>
    (await cluster.client.listTasks({ label: "batch=orphans", state: "running", limit: PAGE })).tasks;
  await until("all run", async () => ((await running()).length === submitted.length ? true : undefined));
  const orphans = (await running()).filter(({ node }) => node === "one");
  expect(orphans.length).toBeGreaterThan(0);
  const feed = listen(cluster.client);
  await one.kill();
  const ended = await Promise.all(submitted.map(({ id }) => cluster.client.getTask({ id, wait: 60 })));
  expect(new Set(ended.map(({ state }) => state))).toEqual(new Set(["succeeded"]));
  const taken = new Set(orphans.map(({ id }) => id));
  for (const { id, node, attempt } of ended)
    expect({ node, attempt }).toEqual(taken.has(id) ? { node: "two", attempt: 2 } : { node: "two", attempt: 1 });
  // Its closed connection told, not its silence: that would have made it suspect first, seconds later.
  await feed.end();
  expect(statesOf(feed.events, "one" as NodeId)).toEqual(["lost"]);
  await one.start();
});

test("the coordinator goes down in good order for longer than a lease: what runs goes on", async () => {
  const [submitted] = await cluster.client.submitMany([echo(0, "patient", 18_000)]);
  const id = submitted!.id;
  await until("it runs", async () => ((await cluster.client.getTask({ id })).state === "running" ? true : undefined));
  await cluster.lead.stop();
  await delay(12_000);
  await cluster.lead.start();
  expect(await cluster.client.getTask({ id, wait: 60 })).toMatchObject({ state: "succeeded", attempt: 1 });
});

test("it all ends in good order", async () => {
  for (const worker of workers) expect(await worker.stop()).toMatchObject({ code: 0 });
  expect((await cluster.client.nodes()).nodes.map(({ state }) => state)).toEqual(["offline", "offline"]);
  expect(await cluster.lead.stop()).toMatchObject({ code: 0 });
});
