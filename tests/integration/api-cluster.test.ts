/** Client, API, the real coordinator and real workers in one process: what fits the doors one by one also fits together. */
import { openClient, type Client } from "@openclaw-cluster/contract/client/client";
import { nodeTransport } from "@openclaw-cluster/contract/client/node-transport";
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import { OPERATIONS, type OperationName } from "@openclaw-cluster/contract/operations";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openApi, type Api } from "../../cluster/src/api/api.ts";
import { systemClock } from "../../cluster/src/system/clock.ts";
import { silentLog } from "../../cluster/src/system/log.ts";
import { createToken } from "../../cluster/src/trust/token.ts";
import { startRamCluster, type RamCluster } from "../support/ram-cluster.ts";

const QUICK = 1_000;
/** Slow enough that the restart comes in their middle: 8 slots need 0.6 s for them. */
const SLOW = 500;
const SLOW_MS = 10;

const admin = createToken();
let cluster: RamCluster;
let api: Api;
let client: Client;

beforeEach(async () => {
  cluster = await startRamCluster();
  await cluster.coordinator.addToken({ id: admin.id, hash: admin.hash, scope: "admin", name: "admin", createdAt: 0 });
  api = await serve(0);
  client = openClient({ url: api.url, token: admin.token, transport: nodeTransport() });
});
afterEach(async () => {
  await client.close();
  await api.close();
  await cluster.stop();
});

const serve = (port: number): Promise<Api> =>
  openApi({ coordinator: cluster.coordinator, host: "127.0.0.1", port, clock: systemClock, log: silentLog });
const echo = (value: number): TaskSpec => ({ kind: "echo", input: { value } });

test("every answer of the real coordinator fits its schema", async () => {
  await cluster.addWorker("one", { skills: [{ name: "summarize", eligible: true }] });
  const one = "one" as NodeId;
  await expect.poll(async () => (await client.nodesOnline()).nodes.length).toBe(1);
  const { id } = await client.run(echo(1));
  const [waiting, stuck] = await client.submitMany([
    { ...echo(2), require: { labels: { gpu: "yes" } } },
    { ...echo(3), require: { nodes: ["nowhere" as NodeId] } },
  ]);
  const queued = waiting?.id as TaskId;
  const answers: Partial<Record<OperationName, () => Promise<unknown>>> = {
    listTasks: () => client.listTasks({ state: ["queued", "succeeded"] }),
    getTask: () => client.getTask({ id, wait: 1 }),
    why: () => client.why({ id: queued }),
    attempts: () => client.attempts({ id }),
    result: () => client.result({ id }),
    queue: () => client.queue({ limit: 1 }),
    cluster: () => client.cluster(),
    health: () => client.health(),
    nodes: () => client.nodes(),
    nodesWithSkill: () => client.nodesWithSkill({ skill: "summarize" }),
    node: () => client.node({ id: one }),
    nodeHealth: () => client.nodeHealth({ id: one }),
    cancel: () => client.cancel({ id: stuck?.id as TaskId }),
    retry: () => client.retry({ id: stuck?.id as TaskId }),
    drain: () => client.drain({ id: one }),
    resume: () => client.resume({ id: one }),
    patchNode: () => client.patchNode({ id: one, labels: { gpu: "yes" } }),
  };
  for (const [name, ask] of Object.entries(answers)) {
    const { error } = OPERATIONS[name as OperationName].reply.safeParse(await ask());
    expect({ name, error }).toEqual({ name, error: undefined });
  }
  expect((await client.getTask({ id: queued, wait: 30 })).state).toBe("succeeded");
  expect(await client.plan([echo(1)])).toMatchObject([{ node: "one" }]);
});

test("thousands of runs end once each, and the client rides through a restart of the coordinator", async () => {
  await cluster.addWorker("one");
  await cluster.addWorker("two");
  let ended = 0;
  const runs = Array.from({ length: QUICK + SLOW }, async (_, n) => {
    const end = await client.run(n < QUICK ? echo(n) : { kind: "echo", input: { value: n, delayMs: SLOW_MS } });
    ended += 1;
    return end;
  });
  await expect.poll(() => ended, { timeout: 30_000, interval: 1 }).toBeGreaterThan(QUICK);
  const { port } = api;
  await api.close();
  expect(ended).toBeLessThan(QUICK + SLOW);
  await cluster.restartCoordinator();
  api = await serve(port);
  const ends = await Promise.all(runs);
  expect(ends.map(({ result }) => result)).toEqual(runs.map((_, n) => n));
  expect(new Set(ends.map(({ id }) => id)).size).toBe(runs.length);
  expect((await client.cluster()).tasks).toMatchObject({ succeeded: runs.length, queued: 0 });
});
