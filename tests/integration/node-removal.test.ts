/**
 * A node is taken out of a real cluster: its key is refused by nats-server, its daemon is told so in plain words, and it may
 * come back as a new node.
 */
import { rm } from "node:fs/promises";
import path from "node:path";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startCluster, until, type TestCluster, type TestDaemon } from "../support/daemon.ts";

let cluster: TestCluster;
let nas: TestDaemon;
beforeAll(async () => {
  cluster = await startCluster();
  nas = await cluster.addWorker("nas", { slots: 2 });
});
afterAll(() => cluster?.end());

const id = "nas" as NodeId;
const inState = (state: string): Promise<true> =>
  until(`nas is ${state}`, async () => ((await cluster.client.node({ id })).state === state ? true : undefined));
const runThere = () => cluster.client.run({ kind: "echo", input: { value: 1 }, require: { nodes: [id] } });

test("one that is at work stays", async () => {
  const refused = await cluster.cli("nodes", "remove", "nas");
  expect(refused).toMatchObject({ code: 1, stdout: "" });
  expect(refused.stderr).toContain("nas is ready; end its daemon first: openclaw-cluster nodes shutdown nas (state_conflict)");
  expect(await runThere()).toMatchObject({ state: "succeeded" });
});

test("one that has ended goes, stays away over a restart of the coordinator, and comes back when it is started again", async () => {
  await nas.kill();
  await inState("lost");
  expect(await cluster.cli("nodes", "remove", "nas")).toMatchObject({ code: 0, stdout: expect.stringContaining("nas is out") as string });
  await cluster.lead.stop();
  await cluster.lead.start();
  expect(await cluster.client.nodes()).toEqual({ nodes: [] });
  await nas.start();
  await inState("ready");
  expect(await runThere()).toMatchObject({ state: "succeeded", node: "nas" });
});

test("its id is free for another key", async () => {
  await nas.stop();
  await inState("offline");
  await rm(path.join(nas.home, "node.seed"));
  await expect(nas.start()).rejects.toThrow("nodes remove nas");
  expect((await cluster.cli("nodes", "remove", "nas")).code).toBe(0);
  await nas.start();
  await inState("ready");
});

// Windows has no SIGSTOP.
test.skipIf(process.platform === "win32")("a daemon that was only asleep ends when it wakes, and says why and what to do", async () => {
  process.kill(nas.pid, "SIGSTOP");
  try {
    await inState("lost");
    expect((await cluster.cli("nodes", "remove", "nas")).code).toBe(0);
  } finally {
    process.kill(nas.pid, "SIGCONT");
  }
  const { code, stderr } = await nas.ended();
  expect(code).toBe(2);
  expect(stderr).toContain("The node nas was taken out of the cluster or shut out by an administrator (node_removed)");
  expect(stderr).toContain("hint: Let it join with a new code");
  expect(await cluster.client.nodes()).toEqual({ nodes: [] });
  await nas.start();
  await inState("ready");
});
