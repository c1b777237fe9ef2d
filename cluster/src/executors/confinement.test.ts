/** Real programs that take too much, each beside one that does not, held by control groups and by looks alone. */
import { existsSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { getPriority } from "node:os";
import path from "node:path";
import { afterAll, afterEach, describe, expect, test, vi } from "vitest";
import { openCommandGround, type CommandGround, type CommandRun } from "../../../tests/support/command-run.ts";
import { until } from "../../../tests/support/daemon.ts";
import { processesOf } from "../../../tests/support/leaked-processes.ts";
import { Policy } from "../core/policy.ts";
import { removePlaces } from "./attempt-group.ts";
import { findGroupHome } from "./cgroup-home.ts";

vi.setConfig({ testTimeout: 90_000, hookTimeout: 60_000 });

const GROUPS = findGroupHome(`openclaw-cluster-test-${process.pid}`);
afterAll(() => {
  if (GROUPS.kind === "found") removePlaces(GROUPS.places);
});
const noGroups = process.platform === "linux" && GROUPS.kind === "none" ? GROUPS.reason : undefined;
const LOOKS = { findGroups: () => ({ kind: "none", reason: "this test wants none" }) as const };
const LIMITS = { memoryMiB: 48, processes: 40, fileMiB: 2, openFiles: 32 };
/** Takes 100 MiB, and keeps it for a while. */
const HOG = `exec python3 -c "
import time
taken = bytearray(100 << 20)
time.sleep(1)
print('took it all')"`;

/** Starts 60 processes, and keeps them for longer than a busy machine needs for a look. */
const CROWD = `exec python3 -c "
import subprocess, time
for one in range(60): subprocess.Popen(['sleep', '60'])
time.sleep(60)"`;

let ground: CommandGround;
afterEach(async () => {
  // Whatever became of the test, its neighbour may go.
  writeFileSync(path.join(ground.folder, "enough"), "");
  await until("nothing is left", () => (processesOf(`OPENCLAW_CLUSTER_FOLDER=${ground.folder}`).length === 0 ? true : undefined));
  await until("no group is left", () => (groupsLeft().length === 0 ? true : undefined));
  ground.close();
});

const groupsLeft = (): string[] =>
  ground.confinement
    .ours()
    .places.flatMap(({ folder }) =>
      existsSync(folder) ? readdirSync(folder).filter((name) => statSync(path.join(folder, name)).isDirectory()) : [],
    );

/** Runs until the file is there. */
const neighbour = (): { run: CommandRun; end: () => void } => {
  const run = ground.run("until [ -e ../enough ]; do sleep 0.1; done; echo well");
  return { run, end: () => writeFileSync(path.join(ground.folder, "enough"), "") };
};

describe.skipIf(process.platform !== "linux").each([
  ["control groups", {}, noGroups],
  ["looks alone", LOOKS, undefined],
])("held by %s", (_what, parts, unable) => {
  test.skipIf(unable !== undefined)("too much memory: it ends with its code and what to change, its neighbour goes on", async () => {
    ground = openCommandGround({ limits: LIMITS }, parts);
    const beside = neighbour();
    expect(await ground.run(HOG).outcome).toMatchObject({
      kind: "failed",
      error: {
        code: "limit_reached",
        message: "bash was held to its limit of 48 MiB of memory; limits.memoryMiB in policy.yaml on studio sets that limit.",
        data: { limit: "memoryMiB", value: 48 },
      },
    });
    beside.end();
    expect(await beside.run.outcome).toMatchObject({ kind: "succeeded", result: { stdoutTail: "well\n" } });
  });

  test.skipIf(unable !== undefined)("a task may ask for less, and not for more", async () => {
    ground = openCommandGround({ limits: { ...LIMITS, memoryMiB: 200 } }, parts);
    expect(await ground.run(HOG, { limits: { memoryMiB: 1_000 } }).outcome).toMatchObject({ kind: "succeeded" });
    expect(await ground.run(HOG, { limits: { memoryMiB: 48 } }).outcome).toMatchObject({
      error: { code: "limit_reached", message: expect.stringContaining("the task itself asks for that limit (input.limits.memoryMiB)") },
    });
  });

  test.skipIf(unable !== undefined)("too many processes", async () => {
    ground = openCommandGround({ limits: LIMITS }, parts);
    const beside = neighbour();
    const crowd = ground.run(CROWD);
    expect(await crowd.outcome).toMatchObject({
      kind: "failed",
      error: { code: "limit_reached", data: { limit: "processes", value: 40 } },
    });
    beside.end();
    expect(await beside.run.outcome).toMatchObject({ kind: "succeeded" });
  });

  test("a file that grows too large", async () => {
    ground = openCommandGround({ limits: LIMITS }, parts);
    expect(await ground.run("exec head -c 3000000 /dev/zero > big").outcome).toMatchObject({
      error: {
        code: "limit_reached",
        message: expect.stringContaining("2 MiB in one file"),
        data: { limit: "fileMiB", signal: "SIGXFSZ" },
      },
    });
    expect(await ground.run("head -c 3000000 /dev/zero > big").outcome).toMatchObject({
      error: { code: "limit_reached", data: { limit: "fileMiB" } },
    });
    expect(await ground.run("head -c 2000000 /dev/zero > big").outcome).toMatchObject({ kind: "succeeded" });
  });

  test("open files: as many as it may have, and its own error after that", async () => {
    ground = openCommandGround({ limits: LIMITS }, parts);
    const run = ground.run('ulimit -n; for i in $(seq 3 100); do eval "exec $i</dev/null" 2>/dev/null || { echo $i; exit 9; }; done');
    expect(await run.outcome).toMatchObject({
      error: { code: "command_failed", data: { exitCode: 9, stdoutTail: expect.stringMatching(/^32\n3[0-2]\n$/) } },
    });
  });

  test("it stands back: behind the daemon for the processors, before it when memory is short", async () => {
    ground = openCommandGround({ limits: { nice: 7 } }, parts);
    const run = ground.run("sleep 0.2; nice; cat /proc/self/oom_score_adj");
    await run.outcome;
    // Whoever runs the tests may stand back already.
    expect(run.stdout()).toBe(`${Math.max(7, getPriority())}\n500\n`);
  });

  test("a child that forks twice, takes a session of its own and has an empty environment is gone within five seconds", async () => {
    ground = openCommandGround({}, parts);
    const name = `600.${process.pid}`;
    const run = ground.run(
      `(env -i setsid bash -c 'trap "" TERM; env -i setsid sleep ${name} & sleep ${name}' >/dev/null 2>&1 &); sleep 0.5; echo bye`,
    );
    expect(await run.outcome).toMatchObject({ kind: "succeeded" });
    // Without a group, one whose way to the tree is gone before the first look cannot be found.
    if (parts !== LOOKS) await until("nobody is left", () => (processesOf(`sleep\0${name}`).length === 0 ? true : undefined), 5_000);
    for (const { pid } of processesOf(`sleep\0${name}`)) process.kill(pid, "SIGKILL");
  });
});

// Only where the kernel itself holds it: a real one would be over the whole machine before the second look.
test.skipIf(process.platform !== "linux" || noGroups !== undefined)(
  "a fork bomb is held, and gone within five seconds of its cancel",
  async () => {
    ground = openCommandGround({ limits: LIMITS });
    const beside = neighbour();
    const mark = `OPENCLAW_CLUSTER_FOLDER=${path.join(ground.folder, "t2.1")}`;
    const bomb = ground.run("b() { b & b & wait; }; b 2>/dev/null");
    const most = await until("the bomb goes off", () => {
      const count = processesOf(mark).length;
      return count > 30 ? count : undefined;
    });
    expect(most).toBeLessThanOrEqual(40);
    bomb.cancel();
    expect(await bomb.outcome).toEqual({ kind: "cancelled" });
    await until("nothing of the bomb is left", () => (processesOf(mark).length === 0 ? true : undefined), 5_000);
    beside.end();
    expect(await beside.run.outcome).toMatchObject({ kind: "succeeded" });
  },
);

describe.skipIf(process.platform === "win32")("a start that fails is told as such", () => {
  test("a script for an interpreter that is not there; words of the task are nothing to the shell", async () => {
    ground = openCommandGround();
    const script = path.join(ground.folder, "broken");
    writeFileSync(script, "#!/no/such/interpreter\n", { mode: 0o755 });
    expect(await ground.run("", { argv: [script, "$(touch x)", "--", "; exit 0"] }).outcome).toMatchObject({
      kind: "failed",
      error: { code: "spawn_failed", message: `${script} could not be started.` },
    });
    const odd = ["printf", "%s|", "$(touch x)", "--", "a b", "`id`", ""];
    const run = ground.run("", { argv: odd });
    await run.outcome;
    expect(run.stdout()).toBe("$(touch x)|--|a b|`id`||");
    expect(existsSync(path.join(ground.folder, "t2.1", "x"))).toBe(false);
  });

  // A fresh group of this hierarchy has no processor yet, and the kernel lets nobody in.
  test.skipIf(!existsSync("/sys/fs/cgroup/cpuset/cpuset.cpus") || noGroups !== undefined)(
    "a control group that takes nobody in: nothing of the program has run",
    async () => {
      ground = openCommandGround({}, { findGroups: (name) => findGroupHome(name, ["cpuset"]) });
      const run = ground.run("echo started");
      expect(await run.outcome).toMatchObject({ kind: "failed", error: { code: "spawn_failed", data: { exitCode: 125 } } });
      expect(run.stdout()).toBe("");
    },
  );
});

test("what a node says of it: limits, keepers, sandbox, and what runs only in one; nothing where no command may run", async () => {
  ground = openCommandGround({}, { ...LOOKS, env: { PATH: "/nowhere" } });
  const said = (policy: object) => ground.confinement.facts(Policy.parse({ version: 1, ...policy }));
  expect(await said({})).toBeUndefined();
  expect(await said({ allow: { commands: ["x"] }, deny: { kinds: ["command"] } })).toBeUndefined();
  const rules = ["x **", { run: "git pull", sandbox: "required" }, { run: "x -v", sandbox: "required" }];
  expect(await said({ allow: { commands: rules }, limits: { memoryMiB: 512 }, sandbox: "preferred" })).toMatchObject({
    limits: { memoryMiB: 512, processes: 1_024, fileMiB: 16_384, openFiles: 4_096, nice: 5 },
    keeps: process.platform === "linux" ? { memoryMiB: "watch", processes: "watch", fileMiB: "rlimit", openFiles: "rlimit" } : {},
    sandbox: { available: false, mode: "preferred", required: ["git"] },
  });
});
