/**
 * nats-server under a whole cluster: it hangs, loses its files, refuses its configuration, stays away (F14, F15, F17 and
 * what F12 leaves over; tests/integration/daemon-crash.test.ts kills it under load). The store is the truth: whatever
 * happens to the messenger, no task is lost and none counts twice.
 *
 * The coordinator's nats-server is the real one behind a script that a test can make fail. POSIX only, for that script.
 */
import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { TaskId } from "@openclaw-cluster/contract/ids";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { startCluster, until, type TestCluster, type TestDaemon } from "../support/daemon.ts";
import { taskEvents } from "../support/feed.ts";
import { natsBinary } from "../support/nats.ts";
import { watchTasks } from "../support/promises.ts";

const SLOTS = 4;
const PATIENCE_MS = 60_000;

let folder: string;
let cluster: TestCluster;
let workers: TestDaemon[];

/** While a file of this name is there the script does what it says. */
const FAULTS = {
  /** The program cannot be started. */
  away: "exit 1",
  /** What was written is no configuration. `$3` is the file that is tried with `-t`. */
  garbled: `[ "$1" = -t ] && echo "} no configuration" >> "$3"`,
  /** It loads, but a running server does not take this change. */
  untakeable: `[ "$1" = -t ] && sed -i 's/^server_name: .*/server_name: "another"/' "$3"`,
} as const;
type Fault = keyof typeof FAULTS;

const script = (binary: string, place: string): string =>
  [
    "#!/bin/sh",
    ...Object.entries(FAULTS).map(([name, act]) => `if [ -e '${place}/${name}' ]; then ${act}; fi`),
    `exec '${binary}' "$@"`,
    "",
  ].join("\n");
const begin = (fault: Fault): Promise<void> => writeFile(path.join(folder, fault), "");
const end = (fault: Fault): Promise<void> => rm(path.join(folder, fault), { force: true });

const echo = (delayMs: number): TaskSpec => ({ kind: "echo", input: { delayMs } });
const print = (text: string): TaskSpec => ({ kind: "command", input: { argv: ["printf", text] } });
const streams = (): string => path.join(cluster.lead.home, "data", "nats", "streams");

async function submit(...specs: readonly TaskSpec[]): Promise<TaskId[]> {
  return (await cluster.client.submitMany(specs)).map(({ id }) => id);
}

async function untilReady(count = workers.length): Promise<void> {
  await until(
    "the workers are ready",
    async () => ((await cluster.client.nodes()).nodes.filter(({ state }) => state === "ready").length === count ? true : undefined),
    PATIENCE_MS,
  );
}

/** What the cluster has kept of a task's output. */
async function outputOf(id: TaskId): Promise<string> {
  const { stdout } = await cluster.cli("logs", id);
  return stdout;
}

/** Ends nats-server, and has it fail to start until `meanwhile` is done. */
async function whileDown(meanwhile: () => Promise<void>): Promise<void> {
  await begin("away");
  process.kill(await cluster.natsPid(), "SIGKILL");
  try {
    await meanwhile();
  } finally {
    await end("away");
  }
  await untilReady();
}

/** The files of its streams in which messages lie. */
async function blocks(): Promise<string[]> {
  const all = await readdir(streams(), { recursive: true });
  return all.filter((file) => file.endsWith(".blk")).map((file) => path.join(streams(), file));
}

describe.skipIf(process.platform === "win32")("nats-server", () => {
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "ocx-faults-"));
    const binary = path.join(folder, "nats-server");
    await writeFile(binary, script(await natsBinary(), folder), { mode: 0o755 });
    cluster = await startCluster({ nats: { port: 0, binary } });
    const own = { slots: SLOTS, policy: { allow: { commands: ["printf *"] } } };
    workers = [await cluster.addWorker("one", own), await cluster.addWorker("two", own)];
  });
  afterAll(async () => {
    await cluster?.end();
    await rm(folder, { recursive: true, force: true });
  });
  afterEach(async () => {
    for (const fault of Object.keys(FAULTS) as Fault[]) await end(fault);
    await untilReady();
  });

  test("F13 for one server: it hangs for 20 s, longer than a lease: nothing is lost, everything goes on", async () => {
    const watch = watchTasks(cluster.client);
    const ids = await submit(...Array.from({ length: 2 * SLOTS }, () => echo(10_000)), ...Array.from({ length: 50 }, () => echo(100)));
    const pid = await cluster.natsPid();
    process.kill(pid, "SIGSTOP");
    try {
      ids.push(...(await submit(...Array.from({ length: 50 }, () => echo(100)))));
      await pause(20_000);
    } finally {
      process.kill(pid, "SIGCONT");
    }
    await untilReady();
    expect(await watch.broken(ids)).toEqual([]);
  });

  test("F14: its folder is deleted while it is down: streams are made again, no task is lost", async () => {
    const watch = watchTasks(cluster.client);
    const [before] = (await submit(print("before"))) as [TaskId];
    await cluster.client.getTask({ id: before, wait: 30 });
    expect(await outputOf(before)).toContain("before");
    const ids = await submit(...Array.from({ length: 60 }, () => echo(300)));
    // Again where the server is back sooner.
    await whileDown(() => rm(path.dirname(streams()), { recursive: true, force: true, maxRetries: 3 }));
    const [after] = (await submit(print("after"))) as [TaskId];
    expect(await watch.broken([before, ...ids, after])).toEqual([]);
    expect(await outputOf(after)).toContain("after");
    // Its output is gone with the stream; the task is not.
    expect(await cluster.client.getTask({ id: before })).toMatchObject({ state: "succeeded" });
  });

  test.each([
    ["cut in the midst", async (file: string) => truncate(file, Math.floor((await stat(file)).size / 2))],
    [
      "with flipped bits",
      async (file: string) => {
        const bytes = await readFile(file);
        for (let at = 8; at < bytes.length; at += 97) bytes[at]! ^= 0x40;
        await writeFile(file, bytes);
      },
    ],
    ["emptied", (file: string) => truncate(file, 0)],
  ])("F14: the files of its streams, %s, are what it finds: it starts, new output is kept, no task is lost", async (_how, spoil) => {
    const watch = watchTasks(cluster.client);
    const printed = await submit(...Array.from({ length: 20 }, (_, n) => print(`line ${n} ${"x".repeat(1_000)}`)));
    for (const id of printed) await cluster.client.getTask({ id, wait: 30 });
    const ids = await submit(...Array.from({ length: 60 }, () => echo(300)));
    let spoilt = 0;
    await whileDown(async () => {
      for (const file of await blocks()) {
        await spoil(file);
        spoilt += 1;
      }
    });
    expect(spoilt).toBeGreaterThan(0);
    const [after] = (await submit(print("after"))) as [TaskId];
    expect(await watch.broken([...printed, ...ids, after])).toEqual([]);
    expect(await outputOf(after)).toContain("after");
  });

  test.each<[Fault, string]>([
    ["garbled", "it cannot be read"],
    ["untakeable", "a running server does not take it"],
  ])("F15: a %s configuration (%s): the old one stays, and nodes come in afterwards", async (fault) => {
    const id = `late${fault}`;
    const conf = path.join(cluster.lead.home, "data", "nats", "nats.conf");
    const before = await readFile(conf, "utf8");
    await begin(fault);
    await expect(cluster.addWorker(id, { slots: 1 })).rejects.toThrow();
    expect(await readFile(conf, "utf8")).toBe(before);
    // Who was in stays in, also over a restart of the server.
    const pid = await cluster.natsPid();
    process.kill(pid, "SIGKILL");
    await until("another nats-server", async () => ((await cluster.natsPid()) === pid ? undefined : true));
    await untilReady();
    const [ran] = (await submit(echo(0))) as [TaskId];
    expect(await cluster.client.getTask({ id: ran, wait: 30 })).toMatchObject({ state: "succeeded" });
    await end(fault);
    const late = await cluster.addWorker(id, { slots: 1 });
    await untilReady(workers.length + 1);
    await late.stop();
  });

  test("F17: it is away while submits go on: they are accepted, and drained by priority when it is back", async () => {
    const watch = watchTasks(cluster.client);
    const [low, high] = [2, 8];
    const ids: TaskId[] = [];
    await whileDown(async () => {
      await until("nobody is heard any more", async () =>
        (await cluster.client.nodes()).nodes.every(({ state }) => state !== "ready") ? true : undefined,
      );
      for (let n = 0; n < 10; n++) {
        ids.push(...(await submit(...Array.from({ length: 20 }, () => ({ ...echo(20), priority: low })))));
        ids.push(...(await submit(...Array.from({ length: 10 }, () => ({ ...echo(20), priority: high })))));
      }
    });
    expect(await watch.broken(ids)).toEqual([]);
    const tasks = await Promise.all(ids.map((id) => cluster.client.getTask({ id })));
    // In the feed's order, whose ids grow with every commit.
    const begun = (priority: number): number[] => {
      const its = new Set(tasks.filter((task) => task.priority === priority).map(({ id }) => id));
      return taskEvents(watch.events)
        .filter(({ task, state }) => state === "leased" && its.has(task))
        .map(({ id }) => id);
    };
    expect(begun(high)).toHaveLength(100);
    expect(Math.max(...begun(high))).toBeLessThan(Math.min(...begun(low)));
    expect(tasks.filter(({ attempt }) => attempt !== 1)).toEqual([]);
  });
});
