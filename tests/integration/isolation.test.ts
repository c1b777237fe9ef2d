/**
 * A node whose policy wants a sandbox around commands, on real daemons: with bubblewrap on its PATH, and without. What is
 * seen inside is for executors/sandbox.test.ts.
 */
import { existsSync, mkdirSync, realpathSync, symlinkSync } from "node:fs";
import path from "node:path";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findBubblewrap } from "../support/bubblewrap.ts";
import { startCluster, until, untilOver, untilState, writePolicy, type TestCluster, type TestDaemon } from "../support/daemon.ts";
import { attemptPids } from "../support/worker-home.ts";

const bubblewrap = await findBubblewrap();
const missing = "missing" in bubblewrap ? bubblewrap.missing : undefined;
const REQUIRED = { allow: { commands: ["sh -c *", { run: "uname -s", sandbox: "none" }] }, sandbox: "required" };
const GONE_MS = 5_000;

const command = (script: string): TaskSpec => ({ kind: "command", input: { argv: ["sh", "-c", script] }, onLost: "fail" });

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await startCluster();
});
afterAll(() => cluster?.end());

const shows = (node: string, what: string | RegExp): Promise<true> =>
  until(`nodes show ${node} says ${what}`, async () =>
    new RegExp(what).test((await cluster.cli("nodes", "show", node)).stdout) ? true : undefined,
  );

test.skipIf(process.platform === "win32")("without one: passed over, why says it, nothing ran; what needs none runs", async () => {
  // A PATH with all that the test needs, and no bwrap.
  const bin = path.join(cluster.folder, "bin");
  mkdirSync(bin);
  for (const name of ["sh", "uname"]) symlinkSync(realpathSync(path.join("/bin", name)), path.join(bin, name));
  const bare = await cluster.addWorker("bare", { policy: REQUIRED, env: { PATH: bin } });
  await shows("bare", /its sandbox +required, none: bubblewrap \(bwrap\) is not installed; required for sh/);
  const { id } = await cluster.client.submit(command("echo ran"));
  const why = await until("why says it", async () => {
    const { sentence, refused } = await cluster.client.why({ id });
    return refused.some(({ code }) => code === "sandbox") ? sentence : undefined;
  });
  expect(why).toContain("has no sandbox, without which its policy does not run sh: bubblewrap (bwrap) is not installed");
  expect(why).toContain("install bubblewrap on bare");
  expect((await cluster.client.getTask({ id })).attempt).toBe(0);
  expect(await cluster.client.run({ kind: "command", input: { argv: ["uname", "-s"] } })).toMatchObject({
    state: "succeeded",
    node: "bare",
  });
  // The owner takes his word back, and it runs.
  await writePolicy(bare.home, { allow: { commands: ["sh -c *"] } });
  expect(await untilOver(cluster, id)).toMatchObject({ state: "succeeded", node: "bare", result: { stdoutTail: "ran\n" } });
  await bare.stop();
});

describe.skipIf(missing !== undefined)(`with one${missing === undefined ? "" : ` (skipped: ${missing})`}`, () => {
  let boxed: TestDaemon;
  beforeAll(async () => {
    const env = { PATH: "path" in bubblewrap ? bubblewrap.path : "" };
    boxed = await cluster.addWorker("boxed", { policy: REQUIRED, env });
    await shows("boxed", /its sandbox +required, there; required for sh/);
  });

  test("the node's own secrets are not there", async () => {
    const seed = path.join(boxed.home, "node.seed");
    expect(existsSync(seed)).toBe(true);
    const task = await cluster.client.run(command(`cat ${seed} 2>/dev/null || echo hidden; echo mine > ~/file && cat ~/file`));
    expect(task).toMatchObject({ state: "succeeded", node: "boxed", result: { stdoutTail: "hidden\nmine\n" } });
  });

  test("whatever runs in it dies with its daemon", async () => {
    const { id } = await cluster.client.submit(command(`(setsid sh -c 'trap "" TERM; sleep 600' &); sleep 600`));
    await untilState(cluster, id, "running");
    await until("the whole tree", () => (attemptPids(boxed.home, id).length >= 4 ? true : undefined));
    await boxed.kill();
    await until("nothing of it is left", () => (attemptPids(boxed.home, id).length === 0 ? true : undefined), GONE_MS);
    expect(await untilOver(cluster, id)).toMatchObject({ state: "failed", reason: "outcome_unknown" });
    await boxed.start();
  });
});
