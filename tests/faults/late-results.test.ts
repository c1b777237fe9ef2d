/**
 * A worker that dies between the end of a run and its report (F02): the result lies in its spool. The worker's next life
 * brings it home, where it counts if nobody else was given the task meanwhile, and is refused if somebody was.
 */
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startCluster, until, untilOver, untilState, type TestCluster, type TestDaemon } from "../support/daemon.ts";
import { shell, SHELL_POLICY } from "../support/shell.ts";
import { spooledResults } from "../support/worker-home.ts";

let cluster: TestCluster;
let one: TestDaemon;
beforeAll(async () => {
  cluster = await startCluster();
  one = await cluster.addWorker("one", { slots: 2, policy: SHELL_POLICY });
});
afterAll(() => cluster?.end());

/** Runs until the file `go` is there, and writes down who ran it. */
function waitFor(name: string): { readonly spec: TaskSpec; readonly go: string; runs(): Promise<string[]> } {
  const go = path.join(cluster.folder, `${name}.go`);
  const runs = path.join(cluster.folder, `${name}.runs`);
  const script = `while ! [ -e ${go} ]; do sleep 0.1; done; echo $OPENCLAW_CLUSTER_NODE | tee -a ${runs}`;
  return {
    spec: shell(script),
    go,
    runs: async () => (await readFile(runs, "utf8")).trim().split("\n"),
  };
}

/** The run ends while nobody can hear of it, and its worker dies with the result in its spool. The coordinator is up again afterwards. */
async function dieBeforeTheReport(id: TaskId, go: string): Promise<void> {
  await untilState(cluster, id, "running");
  await cluster.lead.kill();
  await writeFile(go, "");
  await until("the result is in the spool", () => (spooledResults(one.home) === 1 ? true : undefined));
  await one.kill();
  await cluster.lead.start();
}

test("its next life comes in time: the spooled result counts, nothing runs twice", async () => {
  const { spec, go, runs } = waitFor("kept");
  const { id } = await cluster.client.submit(spec);
  await dieBeforeTheReport(id, go);
  await one.start();
  expect(await untilOver(cluster, id)).toMatchObject({ state: "succeeded", attempt: 1, node: "one", result: { stdoutTail: "one\n" } });
  await until("the spool is empty", () => (spooledResults(one.home) === 0 ? true : undefined));
  expect(await runs()).toEqual(["one"]);
});

test("its next life comes too late: the other node's result counts, the spooled one is refused and forgotten", async () => {
  const { spec, go, runs } = waitFor("late");
  const { id } = await cluster.client.submit(spec);
  await cluster.addWorker("two", { slots: 2, policy: SHELL_POLICY });
  await dieBeforeTheReport(id, go);
  // The coordinator does not know whether it ever was there: its silence tells, after 15 s.
  const ended = await untilOver(cluster, id, 45_000);
  expect(ended).toMatchObject({ state: "succeeded", attempt: 2, node: "two", result: { stdoutTail: "two\n" } });
  expect(spooledResults(one.home)).toBe(1);
  await one.start();
  await until("the spool is empty", () => (spooledResults(one.home) === 0 ? true : undefined));
  expect(await cluster.client.getTask({ id })).toEqual(ended);
  expect((await cluster.client.attempts({ id })).attempts).toMatchObject([
    { n: 1, node: "one", outcome: "lost" },
    { n: 2, node: "two", outcome: "succeeded" },
  ]);
  expect(await runs()).toEqual(["one", "two"]);
  expect((await cluster.client.node({ id: "one" as NodeId })).state).toBe("ready");
});
