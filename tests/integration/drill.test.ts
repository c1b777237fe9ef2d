/**
 * `openclaw-cluster drill` against a real cluster, as a person runs it. What it measures in time is asserted by the benchmark
 * (`npm run bench -- --recovery`), on a machine that has time for it; here the verdict may fail for that and nothing else.
 */
import { readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Running } from "../../scripts/child.ts";
import { runCommand } from "../../scripts/daemon.ts";
import { startCluster, until, type CliEnd, type TestCluster, type TestDaemon } from "../support/daemon.ts";

const TOO_SLOW = /^(a task started again|the first task was placed) only after \d+ ms; promised are \d+ ms$/;

let cluster: TestCluster;
let nas: TestDaemon;
beforeAll(async () => {
  cluster = await startCluster();
  nas = await cluster.addWorker("nas", { slots: 2 });
  await cluster.addWorker("studio", { slots: 2 });
});
afterAll(() => cluster?.end());
// Whatever became of a drill, nothing of it stays.
afterEach(async () => {
  expect((await cluster.client.nodes()).nodes.map(({ id }) => id)).toEqual(["nas", "studio"]);
  expect((await readdir(tmpdir())).filter((name) => name.startsWith("openclaw-cluster-drill-"))).toEqual([]);
  const { tasks } = await cluster.client.cluster();
  for (const state of ["queued", "leased", "running"] as const) expect(tasks[state] ?? 0).toBe(0);
});

function startDrill(...argv: string[]): Running {
  return runCommand(["drill", ...argv], { env: { OPENCLAW_CLUSTER_HOME: cluster.lead.home, OPENCLAW_CLUSTER_URL: cluster.url } });
}

/** A node whose connection closed is noticed long before its silence would tell, on a slow machine too. */
const NOTICED_MS = 10_000;

/** PASS, or FAIL because this machine is slow. */
function expectSound({ code, json }: CliEnd): void {
  expect((json.problems as string[]).filter((problem) => !TOO_SLOW.test(problem))).toEqual([]);
  expect(json).toMatchObject({ ok: json.problems.length === 0, lost: 0, acceptedTwice: 0, left: [] });
  expect(json.succeeded).toBe(json.tasks);
  expect(code).toBe(json.ok ? 0 : 1);
}

test("two workers join, one is killed at work, and nothing is lost", async () => {
  const end = await cluster.cli("drill", "--json", "--tasks", "60");
  expectSound(end);
  expect(end.json).toMatchObject({ form: "workers", tasks: 60, struck: expect.any(Number) });
  expect(end.json.struck).toBeGreaterThan(0);
  expect(end.json.startedAgainMs).toBeGreaterThanOrEqual(end.json.takenBackMs);
  expect(end.json.startedAgainMs).toBeLessThan(NOTICED_MS);
  // Only on the drill's own two nodes.
  const { tasks } = await cluster.client.listTasks({ limit: 60 });
  for (const { node } of tasks) expect(node).toMatch(/^drill[12]/);
});

test("Ctrl-C in its midst tidies up", async () => {
  const drill = startDrill();
  await drill.says(/both are busy/);
  await drill.end("SIGINT");
  expect(await drill.ended()).toMatchObject({ code: 130, stdout: "", stderr: expect.stringContaining("is gone again") as string });
});

test("what a drill leaves that is itself killed, the next one takes away", async () => {
  const killed = startDrill();
  await killed.says(/both are busy/);
  await killed.end("SIGKILL");
  const left = (await cluster.client.nodes()).nodes.map(({ id }) => id).filter((id) => id.startsWith("drill"));
  expect(left).toHaveLength(2);
  // Its workers end by themselves.
  const gone = async (): Promise<true | undefined> =>
    (await cluster.client.nodes()).nodes.every(({ id, state }) => !id.startsWith("drill") || state === "offline" || state === "lost") ||
    undefined;
  await until("the drill's workers have ended", gone);
  const end = await cluster.cli("drill", "--json");
  expectSound(end);
  expect(end.stderr).toContain(`an earlier drill had left ${left.join(" and ")} behind`);
});

test("a machine of one's own is killed, its tasks go on elsewhere, and it comes back well", async () => {
  const drill = startDrill("--node", "nas", "--json", "--wait", "60");
  await drill.says(/Now pull its plug/);
  await nas.kill();
  await drill.says(/Bring nas back/);
  await nas.start();
  const { code, stdout } = await drill.ended();
  const json = JSON.parse(stdout);
  expectSound({ code, json } as CliEnd);
  expect(json).toMatchObject({ form: "node", node: "nas", loss: "closed", promisedMs: 1_000, returned: "well" });
  expect(json.struck).toBeGreaterThan(0);
  expect(json.startedAgainMs).toBeLessThan(NOTICED_MS);
});

test("a node that cannot be drilled is refused, with the reason", async () => {
  expect(await cluster.cli("drill", "--node", "lead")).toMatchObject({ code: 1, stderr: expect.stringContaining("not_found") as string });
  await cluster.client.drain({ id: "nas" as NodeId });
  expect(await cluster.cli("drill", "--node", "nas")).toMatchObject({ code: 1, stderr: expect.stringContaining("draining") as string });
  expect(await cluster.cli("drill", "--node", "studio")).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("no other node could take over") as string,
  });
  await cluster.client.resume({ id: "nas" as NodeId });
});

test("the coordinator of a cluster made for it is killed while it takes and places tasks", async () => {
  const end = await cluster.cli("drill", "--coordinator", "--json");
  expectSound(end);
  expect(end.json).toMatchObject({ form: "coordinator", tasks: 50, known: 50, sameIds: 50 });
  expect(end.json.inFlight).toBeGreaterThan(0);
});
