/**
 * Cancels against everything else (G6, F43): at any moment of a task's life, in every state, and of a node that cannot
 * hear it. What was cancelled never succeeds, ends once, and its processes are gone within five seconds.
 */
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import type { TaskState } from "@openclaw-cluster/contract/task";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startPair, until, untilOver, untilState, type TestCluster, type TestDaemon } from "../support/daemon.ts";
import { endsOf } from "../support/feed.ts";
import { processesOf } from "../support/leaked-processes.ts";
import { watchTasks } from "../support/promises.ts";
import { shell, SHELL_POLICY } from "../support/shell.ts";
import { attemptPids } from "../support/worker-home.ts";

const GONE_MS = 5_000;
/** A silent node's leases run out after 15 s. */
const LEASE_MS = 25_000;
/** Cancels come within so long after a submit; the tasks take as long. */
const RACE_MS = 50;
const ECHOES = 400;
const COMMANDS = 120;
const AT_ONCE = 8;

let cluster: TestCluster;
let one: TestDaemon;
beforeAll(async () => {
  ({ cluster, one } = await startPair({ slots: 8, policy: SHELL_POLICY }));
});
afterAll(() => cluster?.end());

const echo = (more: object = {}): TaskSpec => ({ kind: "echo", input: { value: 1, ...more } });
const on = (id: string): Partial<TaskSpec> => ({ require: { nodes: [id as NodeId] } });
const stateOf = async (id: TaskId): Promise<TaskState> => (await cluster.client.getTask({ id })).state;

interface Race {
  readonly id: TaskId;
  readonly answered: TaskState | "too late";
}

/** Programs of all nodes. */
const commandPids = (): number => processesOf(`OPENCLAW_CLUSTER_FOLDER=${cluster.folder}${path.sep}`).length;

/** Submits and cancels a moment later, as a person with a bad conscience does. */
async function race(spec: TaskSpec): Promise<Race> {
  const { id } = await cluster.client.submit(spec);
  await pause(Math.random() * RACE_MS);
  try {
    return { id, answered: (await cluster.client.cancel({ id })).state };
  } catch (error) {
    if (!(error instanceof ClusterError) || error.code !== "state_conflict") throw error;
    return { id, answered: "too late" };
  }
}

async function raceAll(specs: readonly TaskSpec[]): Promise<Race[]> {
  const races: Race[] = [];
  let next = 0;
  const takeTurns = async (): Promise<void> => {
    for (let at = next++; at < specs.length; at = next++) races.push(await race(specs[at] as TaskSpec));
  };
  await Promise.all(Array.from({ length: AT_ONCE }, takeTurns));
  return races;
}

test("at any moment: each ends once, a cancel that was answered holds, no process is left", async () => {
  const watch = watchTasks(cluster.client);
  const races = await raceAll([
    ...Array.from({ length: ECHOES }, () => echo({ delayMs: Math.floor(Math.random() * RACE_MS) })),
    ...Array.from({ length: COMMANDS }, () => shell("setsid sleep 600 & (sleep 600 &); sleep 0.03")),
  ]);
  await until("their processes are gone", () => (commandPids() === 0 ? true : undefined), GONE_MS);

  const tasks = await Promise.all(races.map(async ({ id }) => untilOver(cluster, id)));
  for (const [at, { id, state }] of tasks.entries()) {
    const { answered } = races[at]!;
    expect({ id, answered, state }).toEqual({ id, answered, state: answered === "too late" ? "succeeded" : "cancelled" });
  }
  expect(await watch.broken(tasks.map(({ id }) => id))).toEqual([]);
  const ends = endsOf(watch.events);
  for (const task of tasks) expect(ends.get(task.id)).toEqual([task.state]);
  // Both sides have won some races, or this has shown nothing.
  const count = (answered: Race["answered"]): number => races.filter((one) => one.answered === answered).length;
  expect([count("cancelled") > 0, count("cancelling") > 0, count("too late") > 0]).toEqual([true, true, true]);
});

test("in every state in which nothing runs: at once", async () => {
  const never = { nodes: ["nowhere" as NodeId] };
  const specs: [state: TaskState, spec: TaskSpec][] = [
    ["scheduled", { ...echo(), runAt: Date.now() + 3_600_000 }],
    ["scheduled", { ...echo({ fail: true }), retry: { max: 10, backoffMs: 300_000 } }],
    ["queued", { ...echo(), require: never }],
  ];
  for (const [state, spec] of specs) {
    const { id } = await cluster.client.submit(spec);
    await untilState(cluster, id, state);
    expect(await cluster.client.cancel({ id })).toMatchObject({ state: "cancelled", reason: "cancel_requested" });
    await expect(cluster.client.cancel({ id })).rejects.toMatchObject({ code: "state_conflict" });
  }
});

test("of what waits for a person, after its node has died", async () => {
  const { id } = await cluster.client.submit(shell("sleep 600", { ...on("one"), onLost: "ask" }));
  await untilState(cluster, id, "running");
  await one.kill();
  await untilState(cluster, id, "waiting");
  expect(await cluster.client.cancel({ id })).toMatchObject({ state: "cancelled", reason: "cancel_requested" });
  await one.start();
  await until("the node works again", async () =>
    (await cluster.client.run({ ...echo(), ...on("one") } as TaskSpec)).state === "succeeded" ? true : undefined,
  );
  expect(await stateOf(id)).toBe("cancelled");
});

test("the coordinator dies when it has answered: the cancel holds, and the processes are gone when it is back", async () => {
  const { id } = await cluster.client.submit(shell("trap '' TERM; setsid sleep 600 & while :; do sleep 600; done", on("one")));
  await until("it runs", () => (attemptPids(one.home, id).length >= 3 ? true : undefined));
  expect(await cluster.client.cancel({ id })).toMatchObject({ state: "cancelling" });
  await cluster.lead.kill();
  await cluster.lead.start();
  await until("its processes are gone", () => (attemptPids(one.home, id).length === 0 ? true : undefined), 2 * GONE_MS);
  expect(await untilOver(cluster, id)).toMatchObject({ state: "cancelled", attempt: 1 });
});

test.runIf(process.platform !== "win32")(
  "of a node that stands still: when its lease has run out; the program ends when the node goes on",
  async () => {
    const { id } = await cluster.client.submit(shell("sleep 600", on("one")));
    await until("it runs", () => (attemptPids(one.home, id).length > 0 ? true : undefined));
    process.kill(one.pid, "SIGSTOP");
    expect(await cluster.client.cancel({ id })).toMatchObject({ state: "cancelling" });
    expect(await untilOver(cluster, id, LEASE_MS)).toMatchObject({ state: "cancelled", reason: "node_lost" });
    expect(attemptPids(one.home, id)).not.toEqual([]);
    process.kill(one.pid, "SIGCONT");
    await until("its processes are gone", () => (attemptPids(one.home, id).length === 0 ? true : undefined), GONE_MS);
  },
);
