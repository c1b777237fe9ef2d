/**
 * Machines that leave on purpose, under load: a drain, a daemon that is asked to end, and the whole cluster going down in
 * good order. Nothing is lost, nothing that ended runs twice, and what had to be stopped says why (F04).
 */
import { appendFile, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import type { Task } from "@openclaw-cluster/contract/task";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runCommand } from "../../scripts/daemon.ts";
import { startPair, until, untilOver, untilState, type TestCluster, type TestDaemon } from "../support/daemon.ts";
import { shell, SHELL_POLICY } from "../support/shell.ts";
import { attemptPids } from "../support/worker-home.ts";

/** A restart of a worker whose work is short, as reliability's target says. */
const SHORT_STOP_MS = 10_000;
const TASKS = 120;

let cluster: TestCluster;
let one: TestDaemon;
let two: TestDaemon;
beforeAll(async () => {
  ({ cluster, one, two } = await startPair({ slots: 4, policy: SHELL_POLICY }));
});
afterAll(() => cluster?.end());

/** Writes a line for each run, so that a second one shows. */
const diary = (): string => path.join(cluster.folder, "runs");
const short = (n: number): TaskSpec => shell(`sleep 0.1; echo ${n} >> ${diary()}`);
const node = (id: string) => cluster.client.node({ id: id as NodeId });

/** Short work for every slot, and then some; `leave` happens in its midst. All of it ends well and ran once. */
async function workThrough(leave: (ids: readonly TaskId[]) => Promise<void>): Promise<Task[]> {
  const from = await lines();
  const ids = (await cluster.client.submitMany(Array.from({ length: TASKS }, (_, n) => short(n)))).map(({ id }) => id);
  await until("some are done", async () => ((await lines()).length > from.length + TASKS / 10 ? true : undefined));
  await leave(ids);
  const tasks = await Promise.all(ids.map((id) => untilOver(cluster, id, 60_000)));
  expect(tasks.filter(({ state }) => state !== "succeeded")).toEqual([]);
  const ran = (await lines()).slice(from.length).map(Number);
  expect([...new Set(ran)].sort((a, b) => a - b)).toEqual(Array.from({ length: TASKS }, (_, n) => n));
  // A machine so busy that a worker's new life is not heard within 15 s of its coordinator's start loses what it had finished.
  const lost = await Promise.all(tasks.filter(({ attempt }) => attempt > 1).map(async ({ id }) => cluster.client.attempts({ id })));
  expect(ran.length - TASKS).toBeLessThanOrEqual(
    lost.flatMap(({ attempts }) => attempts).filter(({ outcome }) => outcome === "lost").length,
  );
  return tasks;
}

async function lines(): Promise<string[]> {
  await appendFile(diary(), "");
  return (await readFile(diary(), "utf8")).split("\n").filter((line) => line !== "");
}

test("drain --wait under load: nothing new, what runs ends, then it says that the machine may go; resume brings work back", async () => {
  const go = path.join(cluster.folder, "go");
  const last = await cluster.client.submit(shell(`while ! [ -e ${go} ]; do sleep 0.1; done`, { require: { nodes: ["one" as NodeId] } }));
  await untilState(cluster, last.id, "running");
  const tasks = await workThrough(async () => {
    const env = { OPENCLAW_CLUSTER_HOME: cluster.lead.home, OPENCLAW_CLUSTER_URL: cluster.url };
    const waiting = runCommand(["nodes", "drain", "one", "--wait"], { env });
    await until("it drains", async () => ((await node("one")).draining ? true : undefined));
    await until("only one task is left there", async () => ((await node("one")).slotsUsed === 1 ? true : undefined));
    expect((await cluster.client.getTask({ id: last.id })).state).toBe("running");
    await writeFile(go, "");
    expect(await waiting.ended()).toMatchObject({
      code: 0,
      stdout: "one has nothing to do any more: its machine may be switched off\n",
      stderr: "",
    });
    expect((await cluster.client.getTask({ id: last.id })).state).toBe("succeeded");
    expect((await node("one")).slotsUsed).toBe(0);
  });
  for (const { attempt } of tasks) expect(attempt).toBe(1);
  const { id } = await cluster.client.submit(shell("true", { require: { nodes: ["one" as NodeId] } }));
  expect(await cluster.client.getTask({ id, wait: 1 })).toMatchObject({ state: "queued" });
  expect((await cluster.cli("nodes", "resume", "one")).code).toBe(0);
  expect(await untilOver(cluster, id)).toMatchObject({ state: "succeeded", node: "one" });
});

test("SIGTERM of a worker under load: what runs ends, the rest goes back unrun, and no task notices", async () => {
  const tasks = await workThrough(async () => {
    const askedAt = performance.now();
    expect(await one.stop()).toMatchObject({ code: 0 });
    expect(performance.now() - askedAt).toBeLessThan(SHORT_STOP_MS);
    expect((await node("one")).state).toBe("offline");
  });
  for (const { id, attempt } of tasks.filter((task) => task.attempt > 1)) {
    const { attempts } = await cluster.client.attempts({ id });
    // Given back before it had started: by name, or by the goodbye that did not name an offer which was still on its way.
    for (const { outcome, startedAt } of attempts.slice(0, attempt - 1)) {
      expect(["interrupted", "lost"]).toContain(outcome);
      expect(startedAt).toBeUndefined();
    }
  }
  await one.start();
});

test("nodes shutdown while something long runs: it is stopped after the grace, says so, and runs again elsewhere; ask waits, fail fails", async () => {
  const stubborn = "trap '' TERM; setsid sleep 600 & sleep 600";
  const again = `[ $OPENCLAW_CLUSTER_ATTEMPT != 1 ] || { ${stubborn}; }; echo again`;
  const specs = [shell(again), shell(stubborn, { onLost: "ask" }), shell(stubborn, { onLost: "fail" })];
  await cluster.client.drain({ id: "two" as NodeId });
  const [retried, asked, failed] = (await cluster.client.submitMany(specs)).map(({ id }) => id) as [TaskId, TaskId, TaskId];
  for (const id of [retried, asked, failed]) await untilState(cluster, id, "running");
  await cluster.client.resume({ id: "two" as NodeId });
  expect((await cluster.cli("nodes", "shutdown", "one")).code).toBe(0);
  expect(await one.ended()).toMatchObject({ code: 0 });
  for (const id of [retried, asked, failed]) expect(attemptPids(one.home, id)).toEqual([]);

  expect(await untilOver(cluster, retried)).toMatchObject({
    state: "succeeded",
    node: "two",
    attempt: 2,
    result: { stdoutTail: "again\n" },
  });
  const interrupted = { n: 1, node: "one", outcome: "interrupted", error: { code: "node_stopped" } };
  expect((await cluster.client.attempts({ id: retried })).attempts).toMatchObject([interrupted, { n: 2, outcome: "succeeded" }]);
  expect(await cluster.client.getTask({ id: asked })).toMatchObject({ state: "waiting", reason: "asked", error: { code: "node_stopped" } });
  expect(await cluster.client.getTask({ id: failed })).toMatchObject({ state: "failed", reason: "node_stopped", attempt: 1 });
  expect((await cluster.cli("show", retried)).stdout).toMatch(
    /^ +1 +one +interrupted .*The daemon of one was stopped, and stopped the attempt before its end/m,
  );
  expect((await cluster.cli("show", asked)).stdout).toContain(`answer ${asked} retry`);
  await cluster.client.cancel({ id: asked });
  await one.start();
});

test("the whole cluster goes down in good order in the midst of work, and comes up again", async () => {
  await workThrough(async () => {
    expect(await one.stop()).toMatchObject({ code: 0 });
    expect(await two.stop()).toMatchObject({ code: 0 });
    expect(await cluster.lead.stop()).toMatchObject({ code: 0 });
    await cluster.lead.start();
    const { tasks } = await cluster.client.cluster();
    expect([tasks.leased ?? 0, tasks.running ?? 0]).toEqual([0, 0]);
    await Promise.all([one.start(), two.start()]);
  });
});

test("the coordinator first, then its workers: what they finish meanwhile counts when all are back", async () => {
  await workThrough(async () => {
    expect(await cluster.lead.stop()).toMatchObject({ code: 0 });
    expect(await one.stop()).toMatchObject({ code: 0 });
    expect(await two.stop()).toMatchObject({ code: 0 });
    await cluster.lead.start();
    await Promise.all([one.start(), two.start()]);
  });
});
