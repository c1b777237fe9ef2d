/**
 * Agent turns on two machines, each with a worker and a real OpenClaw Gateway of its own, one of which dies as machines
 * do: all of its processes at once, without a word. Before the turn has used a tool it runs again elsewhere by itself;
 * after that a person decides (L4 in core/settle.ts, G5).
 */
import path from "node:path";
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import { TERMINAL, type Task } from "@openclaw-cluster/contract/task";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startCluster, until, type TestCluster, type TestDaemon } from "../support/daemon.ts";
import { startGateway, type GatewayOptions, type RunningGateway } from "../support/gateway.ts";
import { startModelServer, type ModelRequest, type ModelServer } from "../support/model-server.ts";

/** Two Gateways that start side by side on a busy machine. */
const START_MS = 400_000;
const TEST_MS = 600_000;
/** A machine that vanishes is silent for 15 s before its agents' turns are given away. */
const GIVEN_AWAY_MS = 30_000;
/** A Gateway's first turn takes half a minute on two busy cores, before the model hears of it. */
const TURN_MS = 240_000;
const POLICY = { allow: { echo: true, agents: ["*"] } };
const NAMES = ["east", "west"] as const;
type Name = (typeof NAMES)[number];

let cluster: TestCluster;
let model: ModelServer;
const machines = new Map<Name, { options: GatewayOptions; gateway: RunningGateway; worker: TestDaemon }>();

beforeAll(async () => {
  model = await startModelServer();
  cluster = await startCluster();
  await Promise.all(
    NAMES.map(async (name) => {
      const options = { folder: path.join(cluster.folder, `openclaw-${name}`), modelUrl: model.url, name };
      const gateway = await startGateway(options);
      const worker = await cluster.addWorker(name, { slots: 4, policy: POLICY, openclaw: gateway });
      machines.set(name, { options, gateway, worker });
    }),
  );
  await Promise.all(NAMES.map(untilReachable));
}, START_MS);
afterAll(async () => {
  for (const { gateway } of machines.values()) await gateway.stop();
  await cluster?.end();
  await model?.close();
});

const machine = (name: Name) => machines.get(name)!;
const other = (name: Name): Name => (name === "east" ? "west" : "east");
const agent = (message: string): TaskSpec => ({ kind: "agent", input: { message } });
const words = (count: number): string => Array.from({ length: count }, (_, index) => `word${index + 1}`).join(" ");
const requestsFor = (text: string): readonly ModelRequest[] => model.requests.filter((request) => request.text === text);

/** Everything that the machine runs, at once. */
async function die(name: Name): Promise<void> {
  await Promise.all([machine(name).worker.kill(), machine(name).gateway.kill()]);
}

async function bootAgain(name: Name): Promise<void> {
  const { options, gateway, worker } = machine(name);
  const restarted = await startGateway({ ...options, port: gateway.port, token: gateway.token });
  machines.set(name, { options, gateway: restarted, worker });
  await worker.start();
  await untilReachable(name);
}

const untilReachable = (name: Name): Promise<true> =>
  until(
    `the Gateway of ${name} is there`,
    async () => {
      const { facts, state } = await cluster.client.node({ id: name as NodeId });
      return state === "ready" && facts?.openclaw?.reachable === true ? true : undefined;
    },
    60_000,
  );

const untilState = (id: TaskId, state: Task["state"], limitMs: number): Promise<Task> =>
  until(
    `${id} is ${state}`,
    async () => {
      const task = await cluster.client.getTask({ id });
      if (task.state !== state && TERMINAL.has(task.state)) throw new Error(`${id} is ${task.state} (${task.reason})`);
      return task.state === state ? task : undefined;
    },
    limitMs,
  );

test(
  "a machine dies before its turn has used a tool: the turn runs again on the other one, by itself",
  async () => {
    const text = "slow 80";
    const { id } = await cluster.client.submit(agent(text));
    const first = await until("the model is asked", () => requestsFor(text)[0], TURN_MS);
    const victim = first.gateway as Name;
    await untilState(id, "running", 10_000);
    await die(victim);
    await until("the dead machine's request is closed", () => first.closedAt);

    const isElsewhere = async (): Promise<true | undefined> => ((await cluster.client.getTask({ id })).attempt === 2 ? true : undefined);
    await until("the turn is given to the other machine", isElsewhere, GIVEN_AWAY_MS);
    const task = await untilState(id, "succeeded", TURN_MS);
    expect(task).toMatchObject({ attempt: 2, node: other(victim), result: { text: words(80) } });
    expect((await cluster.client.attempts({ id })).attempts).toMatchObject([
      { n: 1, node: victim, outcome: "lost" },
      { n: 2, node: other(victim), outcome: "succeeded" },
    ]);
    expect(requestsFor(text)).toMatchObject([
      { gateway: victim, aborted: true },
      { gateway: other(victim), aborted: false },
    ]);

    // The dead machine comes back and finds that nothing there is its own any more.
    await bootAgain(victim);
    expect(await cluster.client.getTask({ id })).toMatchObject({ state: "succeeded", attempt: 2, seq: task.seq });
    expect(requestsFor(text)).toHaveLength(2);
  },
  TEST_MS,
);

test(
  "a machine dies after its turns have used a tool: they wait for a person, who sees why, and retry runs one, fail ends one",
  async () => {
    const victim: Name = "east";
    await cluster.client.drain({ id: other(victim) as NodeId });
    const texts = ["redo", "drop"].map((line) => `${line}\nuse tool sessions_list {"limit":1}\nslow 200`);
    const [redo, drop] = (await cluster.client.submitMany(texts.map(agent))).map(({ id }) => id) as [TaskId, TaskId];
    // The second request of a turn carries what the tool gave.
    for (const text of texts) await until("the tool was used", () => requestsFor(text)[1], TURN_MS);
    await cluster.client.resume({ id: other(victim) as NodeId });
    await die(victim);

    for (const id of [redo, drop]) expect(await untilState(id, "waiting", GIVEN_AWAY_MS)).toMatchObject({ reason: "asked", attempt: 1 });
    await cluster.lead.kill();
    await cluster.lead.start();
    for (const id of [redo, drop])
      expect(await cluster.client.getTask({ id })).toMatchObject({ state: "waiting", error: { code: "node_lost" } });
    await expectPlainWords(redo, victim);

    expect((await cluster.cli("answer", drop, "fail")).stdout).toContain(`${drop} failed`);
    expect(await cluster.client.getTask({ id: drop })).toMatchObject({ state: "failed", reason: "answered_fail", attempt: 1 });
    expect((await cluster.cli("answer", redo, "retry")).code).toBe(0);
    const done = await untilState(redo, "succeeded", TURN_MS);
    expect(done).toMatchObject({ attempt: 2, node: other(victim), result: { text: words(200), toolCalls: 1 } });
    expect((await cluster.cli("answer", redo, "retry")).code).toBe(1);
    expect(requestsFor(texts[1]!).filter(({ gateway }) => gateway === other(victim))).toEqual([]);
  },
  TEST_MS,
);

/** Whatever a person looks at first says that the task waits for them, why, and what to type. */
async function expectPlainWords(id: TaskId, lostNode: Name): Promise<void> {
  const [status, ps, show, why] = await Promise.all([
    cluster.cli("status"),
    cluster.cli("ps"),
    cluster.cli("show", id),
    cluster.cli("why", id),
  ]);
  const command = new RegExp(`openclaw-cluster answer ${id} retry`);
  for (const { stdout, stderr } of [status, ps, show, why]) expect(stdout + stderr).toMatch(command);
  expect(status.stdout).toContain("2 waiting for a person");
  expect(ps.stdout).toMatch(new RegExp(`^${id} +waiting +agent +${lostNode}`, "m"));
  expect(show.stdout).toContain(`The node ${lostNode} was lost`);
  expect(show.stdout).toContain(`answer ${id} fail`);
  expect(why.stdout).toContain("Waits for a person, because the agent had used a tool by then.");
}
