/**
 * Programs that crash, hide, multiply, flood and hog (F03, F37, F40–F42), and a worker that dies above them (F01): each
 * ends typed, with nothing left, and what runs beside it on the node does not notice. A hog is held to its own limit; that
 * a worker whose whole machine is short stays well is tried with a limit around all of it.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";
import type { TaskId } from "@openclaw-cluster/contract/ids";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import type { Task } from "@openclaw-cluster/contract/task";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { rssMiB } from "../../scripts/bench/usage.ts";
import { makeControlGroup, noControlGroups } from "../support/cgroup.ts";
import { startCluster, until, untilOver, writePolicy, type TestCluster, type TestDaemon } from "../support/daemon.ts";
import { processesOf } from "../support/leaked-processes.ts";
import { attemptFolder, attemptPids } from "../support/worker-home.ts";

/** From a program's end until the task is over. */
const TYPED_MS = 1_000;
const GONE_MS = 5_000;
/** Of any process of the cluster. A daemon at rest has about 160. */
const RSS_MIB_MAX = 400;
/** Half a gigabyte is taken page by page, which a machine that is busy does slowly. */
const TAKEN_MS = 120_000;
const NO_GROUPS = noControlGroups();

let cluster: TestCluster;
let studio: TestDaemon;
beforeAll(async () => {
  cluster = await startCluster();
  studio = await cluster.addWorker("studio", { slots: 4, policy: { allow: { commands: ["bash -c *"] } } });
});
afterAll(() => cluster?.end());

const command = (script: string, more: object = {}): TaskSpec => ({
  kind: "command",
  input: { argv: ["bash", "-c", script] },
  retry: { max: 0 },
  ...more,
});
const echo: TaskSpec = { kind: "echo", input: { value: "beside" } };
const run = async (script: string, more: object = {}): Promise<Task> =>
  untilOver(cluster, (await cluster.client.submit(command(script, more))).id);
const leftOf = (id: TaskId): number => attemptPids(studio.home, id).length;
const untilGone = (id: TaskId): Promise<true> => until(`nothing of ${id} is left`, () => (leftOf(id) === 0 ? true : undefined), GONE_MS);
/** Does the node still carry out other work? */
const worksBeside = async (): Promise<void> => expect(await cluster.client.run(echo)).toMatchObject({ state: "succeeded", attempt: 1 });

afterEach(async () => {
  await worksBeside();
  expect(processesOf(`OPENCLAW_CLUSTER_FOLDER=${studio.home}${path.sep}`)).toEqual([]);
  for (const pid of [cluster.lead.pid, studio.pid, await cluster.natsPid()]) expect(await rssMiB(pid)).toBeLessThan(RSS_MIB_MAX);
});

describe("a program that ends badly is told within a second", () => {
  test.each([
    ["an exit code", "exit 3", { exitCode: 3, signal: null }],
    ["a kill", "kill -KILL $$", { exitCode: null, signal: "SIGKILL" }],
    ["a fault in memory", "kill -SEGV $$", { exitCode: null, signal: "SIGSEGV" }],
  ])("%s", async (what, script, data) => {
    const diedAt = path.join(cluster.folder, `died-${what.replaceAll(" ", "-")}`);
    const task = await run(`date +%s%3N > ${diedAt}; echo why >&2; ${script}`);
    expect(task).toMatchObject({ state: "failed", attempt: 1, error: { code: "command_failed", data: { ...data, stderrTail: "why\n" } } });
    expect((task.endedAt ?? Infinity) - Number(await readFile(diedAt, "utf8"))).toBeLessThan(TYPED_MS);
  });
});

describe.runIf(process.platform === "linux")("whatever a program leaves is gone five seconds after", () => {
  const DAEMONS = "(setsid bash -c 'trap \"\" TERM; sleep 600 & sleep 600' &) ; (setsid sleep 600 &)";

  test("its own end", async () => {
    const { id, state } = await run(`${DAEMONS}; sleep 0.3; echo bye`);
    expect(state).toBe("succeeded");
    await untilGone(id);
    expect(existsSync(attemptFolder(studio.home, id))).toBe(false);
  });

  test("its time-out, though it hears no SIGTERM", async () => {
    const task = await run(`trap '' TERM; ${DAEMONS}; while :; do sleep 600; done`, { timeouts: { runMs: 500 } });
    expect(task).toMatchObject({ state: "failed", error: { code: "run_timeout" } });
    await untilGone(task.id);
  });

  test("its time-out, though it has stopped itself and its children", async () => {
    const task = await run(`${DAEMONS}; sleep 600 & kill -STOP $!; kill -STOP $$`, { timeouts: { runMs: 500 } });
    expect(task).toMatchObject({ state: "failed", error: { code: "run_timeout" } });
    await untilGone(task.id);
  });

  test("the death of its worker, which never comes back; a child with an empty environment too", async () => {
    const name = `600.${process.pid}`;
    const sleepers = (): number => processesOf(`sleep\0${name}`).length;
    const { id } = await cluster.client.submit(command(`${DAEMONS}; env -i sleep ${name} & sleep 600`, { onLost: "fail" }));
    await until("the whole tree", () => (leftOf(id) >= 5 && sleepers() === 1 ? true : undefined));
    await studio.kill();
    await until("nothing is left", () => (leftOf(id) + sleepers() === 0 ? true : undefined), GONE_MS);
    expect(await untilOver(cluster, id)).toMatchObject({ state: "failed", reason: "outcome_unknown" });
    await studio.start();
    expect(existsSync(attemptFolder(studio.home, id))).toBe(false);
  });
});

describe("output", () => {
  const printed = async (id: TaskId): Promise<string> => {
    let text = "";
    for await (const chunk of cluster.client.logs(id)) if (chunk.stream === "stdout") text += chunk.text;
    return text;
  };

  test("one line of 50 MB", async () => {
    const { id, state, result } = await run("head -c 50000000 /dev/zero | tr '\\0' x; echo");
    expect({ state, result }).toMatchObject({ state: "succeeded", result: { outputBytes: 50_000_001 } });
    expect((await printed(id)).length).toBe(LIMITS.outputBytesMax);
  });

  test("bytes that are no text", async () => {
    const { id, state } = await run("head -c 300000 /dev/urandom; printf '\\033[2J\\0\\377end'");
    expect(state).toBe("succeeded");
    expect(await printed(id)).toMatch(/end$/);
    expect((await cluster.cli("show", id)).code).toBe(0);
  });
});

/** For the rest of this test, which begins with another life of the worker: whoever it starts is below its own group. */
async function limitStudio(limit: Parameters<typeof makeControlGroup>[1]): Promise<void> {
  const group = makeControlGroup(path.basename(cluster.folder), limit);
  onTestFinished(async () => {
    await studio.stop();
    await group.remove();
    await studio.start();
  });
  await studio.stop();
  await studio.start({ under: group.under });
}

describe("hogs", () => {
  test("of open files: a limit of its own making holds it", async () => {
    const task = await run('ulimit -n 256; for i in $(seq 3 400); do eval "exec $i</dev/null" 2>/dev/null || exit 9; done');
    expect(task).toMatchObject({ state: "failed", error: { data: { exitCode: 9 } } });
  });

  test.skipIf(NO_GROUPS !== undefined)(`each held to its own limit${NO_GROUPS === undefined ? "" : ` (${NO_GROUPS})`}`, async () => {
    onTestFinished(() => writePolicy(studio.home, { allow: { commands: ["bash -c *"] } }));
    await writePolicy(studio.home, {
      allow: { commands: ["bash -c *"] },
      limits: { memoryMiB: 48, processes: 48, fileMiB: 4, openFiles: 64 },
    });
    await until("nodes show says it", async () =>
      (await cluster.cli("nodes", "show", "studio")).stdout.includes("memory 48 MiB, processes 48, a file 4 MiB, open files 64")
        ? true
        : undefined,
    );
    const beside = await cluster.client.submit(command("sleep 3; echo well"));
    const hogs = [
      ["exec tail /dev/zero", { code: "limit_reached", data: { limit: "memoryMiB", value: 48 } }],
      ["exec head -c 9000000 /dev/zero > big", { code: "limit_reached", data: { limit: "fileMiB" } }],
      ['for i in $(seq 3 90); do eval "exec $i</dev/null" 2>/dev/null || exit 9; done', { code: "command_failed", data: { exitCode: 9 } }],
    ] as const;
    for (const [script, error] of hogs) expect(await run(script)).toMatchObject({ state: "failed", attempt: 1, error });
    const bomb = await cluster.client.submit(command("b() { b & b & wait; }; b", { timeouts: { runMs: 5_000 } }));
    await until("the bomb goes off", () => (leftOf(bomb.id) > 30 ? true : undefined));
    expect(leftOf(bomb.id)).toBeLessThanOrEqual(48);
    await worksBeside();
    expect(await untilOver(cluster, bomb.id)).toMatchObject({ state: "failed", error: { code: "run_timeout" } });
    await untilGone(bomb.id);
    expect(await untilOver(cluster, beside.id)).toMatchObject({ state: "succeeded", result: { stdoutTail: "well\n" } });
  });

  test.skipIf(NO_GROUPS !== undefined)(
    `a fork bomb, where the worker's processes are limited${NO_GROUPS === undefined ? "" : ` (${NO_GROUPS})`}`,
    async () => {
      await limitStudio({ processes: 160 });
      // The watcher over commands is there before the bomb.
      await run("true");
      const { id } = await cluster.client.submit(command("b() { b & b & wait; }; b", { timeouts: { runMs: 3_000 } }));
      await until("the bomb goes off", () => (leftOf(id) > 50 ? true : undefined));
      await worksBeside();
      expect(await untilOver(cluster, id)).toMatchObject({ state: "failed", error: { code: "run_timeout" } });
      await untilGone(id);
      // Whose parents are gone too, the system itself must bury: until then they count.
      const works = async (): Promise<true | undefined> => ((await run("true")).state === "succeeded" ? true : undefined);
      await until("there is room for a program again", works, GONE_MS);
    },
  );

  test.skipIf(NO_GROUPS !== undefined)(
    `of memory, where the worker's is limited${NO_GROUPS === undefined ? "" : ` (${NO_GROUPS})`}`,
    async () => {
      await limitStudio({ memoryMiB: 700 });
      const { id } = await cluster.client.submit(command("exec tail /dev/zero"));
      const task = await untilOver(cluster, id, TAKEN_MS);
      // Half of what the worker itself may have, and not of the machine's.
      const error = { code: "limit_reached", data: { signal: "SIGKILL", limit: "memoryMiB", value: 512 } };
      expect(task).toMatchObject({ state: "failed", attempt: 1, error });
      await worksBeside();
    },
  );
});
