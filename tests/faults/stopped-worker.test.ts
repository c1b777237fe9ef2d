/**
 * A worker that stands still for a minute and goes on: a laptop that slept, a machine that swapped (F05, F06). Its lease
 * is over by then, so nothing that it does or brings home afterwards counts, and none of its programs goes on.
 */
import { existsSync } from "node:fs";
import path from "node:path";
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startPair, until, untilOver, type TestCluster, type TestDaemon } from "../support/daemon.ts";
import { shell, SHELL_POLICY } from "../support/shell.ts";
import { attemptFolder, attemptPids, spooledResults } from "../support/worker-home.ts";

/** As the issue says. */
const STOPPED_MS = 60_000;
/** Silence of 15 s, and the run on the other node. */
const TAKEN_OVER_MS = 30_000;
/** G6: after it goes on, and its first look at the clock. */
const GONE_MS = 5_000;

let cluster: TestCluster;
let one: TestDaemon;
beforeAll(async () => {
  ({ cluster, one } = await startPair({ slots: 8, policy: SHELL_POLICY }));
});
afterAll(() => cluster?.end());

/** A shell that says where it runs; `first`: what the first attempt does before that. */
const command = (first: string): TaskSpec =>
  shell(`[ $OPENCLAW_CLUSTER_ATTEMPT != 1 ] || { ${first}; }; echo done by $OPENCLAW_CLUSTER_NODE`);
const drain = (id: string) => cluster.client.drain({ id: id as NodeId });
const resume = (id: string) => cluster.client.resume({ id: id as NodeId });
test.runIf(process.platform === "linux")(
  "stopped for a minute: the other node's result counts, the late one is refused, the late processes are gone",
  async () => {
    await drain("two");
    const lateFile = path.join(cluster.folder, "late");
    const specs = [
      command("(sleep 600 &); setsid sleep 600 & sleep 600"),
      command(`sleep 3; : > ${lateFile}`),
      command("setsid sleep 600 & sleep 600"),
    ];
    const [tree, late, unwanted] = (await cluster.client.submitMany(specs)).map(({ id }) => id) as [TaskId, TaskId, TaskId];
    const all = [tree, late, unwanted];
    await until("all run", async () => {
      const states = await Promise.all(all.map(async (id) => (await cluster.client.getTask({ id })).state));
      return states.every((state) => state === "running") && attemptPids(one.home, tree).length >= 4 ? true : undefined;
    });
    expect(existsSync(lateFile)).toBe(false);

    const ofLate = attemptPids(one.home, late);
    const stopped = [one.pid, ...all.flatMap((id) => attemptPids(one.home, id))];
    for (const pid of stopped) process.kill(pid, "SIGSTOP");
    const stoppedAt = performance.now();
    await resume("two");
    expect(await cluster.client.cancel({ id: unwanted })).toMatchObject({ state: "cancelling" });

    const taken = await Promise.all([untilOver(cluster, tree, TAKEN_OVER_MS), untilOver(cluster, late, TAKEN_OVER_MS)]);
    for (const task of taken)
      expect(task).toMatchObject({ state: "succeeded", attempt: 2, node: "two", result: { stdoutTail: "done by two\n" } });
    expect(await untilOver(cluster, unwanted, TAKEN_OVER_MS)).toMatchObject({ state: "cancelled", reason: "node_lost", attempt: 1 });
    expect((await cluster.client.node({ id: "one" as NodeId })).state).toBe("lost");

    await until("a minute is over", () => (performance.now() - stoppedAt > STOPPED_MS ? true : undefined), 2 * STOPPED_MS);
    // One program comes to its end before its worker can notice anything: that result is a good one, and too late.
    for (const pid of ofLate) process.kill(pid, "SIGCONT");
    await until("the late program is done", () => (existsSync(lateFile) && attemptPids(one.home, late).length === 0 ? true : undefined));
    for (const pid of stopped) if (!ofLate.includes(pid)) process.kill(pid, "SIGCONT");

    const nothing = (): true | undefined =>
      all.every((id) => attemptPids(one.home, id).length === 0 && !existsSync(attemptFolder(one.home, id))) ? true : undefined;
    await until("processes and folders of the late attempts are gone", nothing, GONE_MS);
    await until("its late results have their verdict", () => (spooledResults(one.home) === 0 ? true : undefined), GONE_MS);
    for (const before of taken) {
      expect(await cluster.client.getTask({ id: before.id })).toEqual(before);
      expect((await cluster.client.attempts({ id: before.id })).attempts).toMatchObject([
        { n: 1, node: "one", outcome: "lost" },
        { n: 2, node: "two", outcome: "succeeded" },
      ]);
    }
    expect(await cluster.client.getTask({ id: unwanted })).toMatchObject({ state: "cancelled", attempt: 1 });

    await drain("two");
    expect(await cluster.client.run(command("true"))).toMatchObject({ state: "succeeded", attempt: 1, node: "one" });
    await resume("two");
  },
);
