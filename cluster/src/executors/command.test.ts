/** Real programs: each test ends with nobody left of what it started. */
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync, mkdirSync, symlinkSync, realpathSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { ClusterId, NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import type { Outcome } from "@openclaw-cluster/contract/wire";
import type { CommandInput, TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Policy } from "../core/policy.ts";
import { silentLog } from "../system/log.ts";
import { commandExecutor } from "./command.ts";
import { openConfinement, type Confinement } from "./confinement.ts";
import type { AbortCause, Execution } from "./executors.ts";

// Real programs that take their three seconds of grace, on a machine that others use too.
vi.setConfig({ testTimeout: 30_000 });

let folder: string;
let confinement: Confinement;
beforeEach(() => {
  folder = realpathSync(mkdtempSync(path.join(tmpdir(), "ocx-command-")));
  confinement = openConfinement({ folder, clusterHome: path.join(folder, "home"), userHome: homedir(), env: process.env, log: silentLog });
});
afterEach(() => {
  expect(alive(), "processes left behind").toEqual([]);
  confinement.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Every live process whose environment names this test's folder, or whose command line does. */
function alive(): string[] {
  return pids().filter((pid) => !/\) Z /.test(stat(pid)) && (read(pid, "environ") + commandLine(pid)).includes(folder));
}

function pids(): string[] {
  return readdirSync("/proc").filter((name) => /^[0-9]+$/.test(name) && Number(name) !== process.pid);
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const limit = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > limit) throw new Error(`waited 10 s for: ${what}`);
    await pause(10);
  }
}

interface Run {
  readonly outcome: Promise<Outcome>;
  readonly printed: { stdout: string; stderr: string };
  abort(cause: AbortCause): void;
}

const OPEN = {
  version: 1,
  allow: {
    commands: ["**", "sh -c *", "bash -c *", "python3 -c *", "env -i **"],
    cwds: ["/"],
    env: ["MINE", "OPENCLAW_CLUSTER_NODE"],
  },
};

function run(
  input: CommandInput,
  options: { policy?: unknown; inherited?: NodeJS.ProcessEnv; onOutput?: (text: string) => Promise<void> } = {},
): Run {
  const policy = Policy.parse(options.policy ?? OPEN);
  const executor = commandExecutor({ policy: { current: () => policy }, confinement, inherited: options.inherited ?? process.env });
  const controller = new AbortController();
  const printed = { stdout: "", stderr: "" };
  const spec: TaskSpec = { kind: "command", input };
  const execution: Execution = {
    cluster: "abcdefgh" as ClusterId,
    node: "n1" as NodeId,
    offer: { task: "t7" as TaskId, attempt: 2, epoch: 1, spec },
    signal: controller.signal,
    folder,
    log: silentLog,
    async output(stream, text) {
      if (options.onOutput) return options.onOutput(text);
      if (stream === "stdout" || stream === "stderr") printed[stream] += text;
    },
    progress: () => undefined,
    acted: () => undefined,
  };
  return { outcome: executor.run(spec, execution), printed, abort: (cause) => controller.abort(cause) };
}

function errorOf(outcome: Outcome): { code: string; data?: Record<string, unknown> | undefined } {
  if (outcome.kind !== "failed" && outcome.kind !== "refused") throw new Error(`expected a failure, got ${JSON.stringify(outcome)}`);
  return outcome.error;
}

describe.skipIf(process.platform === "win32")("what it gives back", () => {
  test("exit code, the end of stdout, bytes of both streams", async () => {
    const { outcome, printed } = run({ argv: ["sh", "-c", "echo héllo; echo oops >&2"] });
    expect(await outcome).toEqual({ kind: "succeeded", result: { exitCode: 0, signal: null, outputBytes: 12, stdoutTail: "héllo\n" } });
    expect(printed).toEqual({ stdout: "héllo\n", stderr: "oops\n" });
  });

  test("another exit code is command_failed, with what the program said", async () => {
    const error = errorOf(await run({ argv: ["sh", "-c", "echo why >&2; exit 3"] }).outcome);
    expect(error).toMatchObject({ code: "command_failed", data: { exitCode: 3, signal: null, stderrTail: "why\n" } });
  });

  test("a crash names the signal", async () => {
    expect(errorOf(await run({ argv: ["sh", "-c", "kill -SEGV $$"] }).outcome)).toMatchObject({
      code: "command_failed",
      data: { exitCode: null, signal: "SIGSEGV" },
    });
  });

  test("a program, a folder or a file that cannot be started is spawn_failed", async () => {
    expect(errorOf(await run({ argv: ["no-such-program-here"] }).outcome)).toMatchObject({
      code: "spawn_failed",
      data: { code: "ENOENT" },
    });
    expect(errorOf(await run({ argv: ["true"], cwd: "/no/such/folder" }).outcome)).toMatchObject({ code: "spawn_failed" });
    writeFileSync(path.join(folder, "plain"), "not a program", { mode: 0o644 });
    expect(errorOf(await run({ argv: [path.join(folder, "plain")] }).outcome)).toMatchObject({ code: "spawn_failed" });
    expect(errorOf(await run({ argv: ["echo", "a\0b"] }).outcome)).toMatchObject({ code: "bad_request" });
  });

  test("stdin is given, and closed where there is none; a program that does not read it is no error", async () => {
    const { outcome, printed } = run({ argv: ["cat"], stdin: "given\n" });
    expect((await outcome).kind).toBe("succeeded");
    expect(printed.stdout).toBe("given\n");
    expect((await run({ argv: ["cat"] }).outcome).kind).toBe("succeeded");
    expect((await run({ argv: ["true"], stdin: "x".repeat(65_536) }).outcome).kind).toBe("succeeded");
  });
});

describe.skipIf(process.platform === "win32")("what it passes on", () => {
  test("nothing of the daemon's environment but PATH and LANG (D2)", async () => {
    const inherited = { PATH: process.env["PATH"], LANG: "C.UTF-8", OPENAI_API_KEY: "sk-canary", HOME: "/root" };
    const { outcome, printed } = run({ argv: ["env"], env: { MINE: "1", OPENCLAW_CLUSTER_NODE: "forged" } }, { inherited });
    await outcome;
    expect(printed.stdout.trim().split("\n").toSorted()).toEqual([
      `HOME=${folder}`,
      "LANG=C.UTF-8",
      "MINE=1",
      "OPENCLAW_CLUSTER_ATTEMPT=2",
      `OPENCLAW_CLUSTER_FOLDER=${folder}`,
      "OPENCLAW_CLUSTER_NODE=n1",
      "OPENCLAW_CLUSTER_TASK=t7",
      `PATH=${process.env["PATH"]}`,
      `TMPDIR=${folder}`,
    ]);
  });

  test("a task's HOME is the attempt's folder, though it says another", async () => {
    for (const name of ["HOME", "TMPDIR", "TMP"])
      expect(await run({ argv: ["env"], env: { [name]: "/root" } }).outcome).toMatchObject({
        kind: "refused",
        error: { code: "policy_denied", message: `This node's policy: the variable ${name} is set by the node itself.` },
      });
  });

  test("its own folder, or one that the policy allows; links are followed before the policy is asked (D1)", async () => {
    const { outcome, printed } = run({ argv: ["pwd", "-P"] });
    await outcome;
    expect(printed.stdout.trim()).toBe(folder);
    const allowed = path.join(folder, "allowed");
    mkdirSync(allowed);
    symlinkSync("/", path.join(allowed, "way-out"));
    const policy = { version: 1, allow: { commands: ["pwd"], cwds: [allowed] } };
    expect((await run({ argv: ["pwd"], cwd: allowed }, { policy }).outcome).kind).toBe("succeeded");
    for (const cwd of [path.join(allowed, "way-out"), "/", `${allowed}/../..`]) {
      expect(await run({ argv: ["pwd"], cwd }, { policy }).outcome).toMatchObject({ kind: "refused", error: { code: "policy_denied" } });
    }
  });

  test.skipIf(process.platform !== "linux")("a folder that becomes a link once the policy has allowed it is not left (D1)", async () => {
    const allowed = path.join(folder, "allowed");
    const cwd = path.join(allowed, "sub");
    mkdirSync(cwd, { recursive: true });
    const real = confinement;
    confinement = Object.assign(Object.create(real) as Confinement, {
      hold(...asked: Parameters<Confinement["hold"]>) {
        renameSync(cwd, path.join(allowed, "aside"));
        symlinkSync("/", cwd);
        return real.hold(...asked);
      },
    });
    const { outcome, printed } = run(
      { argv: ["pwd", "-P"], cwd },
      { policy: { version: 1, allow: { commands: ["pwd -P"], cwds: [allowed] } } },
    );
    expect((await outcome).kind).toBe("succeeded");
    expect(printed.stdout.trim()).toBe(path.join(allowed, "aside"));
  });

  test("a link to an interpreter is judged as the interpreter", async () => {
    const link = path.join(folder, "harmless");
    symlinkSync(realpathSync("/bin/sh"), link);
    const policy = { version: 1, allow: { commands: [`${link} **`] } };
    expect(await run({ argv: [link, "-c", "true"] }, { policy }).outcome).toMatchObject({ kind: "refused" });
  });
});

describe.skipIf(process.platform === "win32")("bounds", () => {
  test("a gigabyte of output: memory stays flat, and the end is seen", async () => {
    let taken = 0;
    let rssMax = 0;
    const before = process.memoryUsage.rss();
    const { outcome } = run(
      { argv: ["sh", "-c", "head -c 1000000000 /dev/zero; echo; echo the end"] },
      {
        onOutput: async (text) => {
          taken += text.length;
          rssMax = Math.max(rssMax, process.memoryUsage.rss());
        },
      },
    );
    const stdoutTail = expect.stringMatching(/\nthe end\n$/);
    expect(await outcome).toMatchObject({ kind: "succeeded", result: { exitCode: 0, outputBytes: 1_000_000_009, stdoutTail } });
    expect(taken).toBe(1_000_000_009);
    expect(rssMax - before).toBeLessThan(150 * 1024 * 1024);
  }, 60_000);

  test("a slow reader slows the program instead of filling memory", async () => {
    const gate = Promise.withResolvers<void>();
    let calls = 0;
    const { outcome } = run(
      { argv: ["sh", "-c", `head -c 5000000 /dev/zero; : > ${folder}/done`] },
      {
        onOutput: () => {
          calls++;
          return gate.promise;
        },
      },
    );
    // The pipe and our buffer are full: the program sleeps in its write.
    await until(
      () => calls === 1 && alive().some((pid) => commandLine(pid).startsWith("head") && /\) S /.test(stat(pid))),
      "the program to wait",
    );
    expect(calls).toBe(1);
    expect(readdirSync(folder)).toEqual([]);
    gate.resolve();
    expect(await outcome).toMatchObject({ kind: "succeeded", result: { outputBytes: 5_000_000 } });
  });
});

describe.skipIf(process.platform !== "linux")("nothing is left", () => {
  test("grandchildren, when the command is cancelled", async () => {
    const { outcome, abort } = run({ argv: ["sh", "-c", "sleep 1000 & (sleep 1000 & sleep 1000) & wait"] });
    await until(() => alive().length >= 4, "the whole family");
    abort("cancelled");
    expect(await outcome).toEqual({ kind: "cancelled" });
  });

  test("a background process that holds the pipe, when the command ends by itself", async () => {
    expect(await run({ argv: ["sh", "-c", "sleep 1000 & echo started"] }).outcome).toMatchObject({
      kind: "succeeded",
      result: { stdoutTail: "started\n" },
    });
  });

  test("a daemon: double fork and a session of its own, reparented to init", async () => {
    expect(
      await run({ argv: ["sh", "-c", "(setsid sh -c 'sleep 1000 & sleep 1000' >/dev/null 2>&1 &) ; sleep 0.2"] }).outcome,
    ).toMatchObject({ kind: "succeeded" });
  });

  test("a child without the marker in its environment, whose parent is there or whose session is ours", async () => {
    const name = `1000.${process.pid}`;
    const sleeps = (): string[] => pids().filter((pid) => commandLine(pid).startsWith(`sleep\0${name}`));
    for (const script of [
      `env -i setsid sleep ${name}`,
      `env -i setsid sh -c 'trap "" TERM; sleep ${name}'; true`,
      `(env -i sleep ${name} &); wait; sleep 1000`,
    ]) {
      const running = run({ argv: ["sh", "-c", script] });
      await until(() => sleeps().length === 1, "the sleeper");
      running.abort("cancelled");
      await running.outcome;
      expect(sleeps()).toEqual([]);
    }
  });

  test("whatever the moment of the abort", async () => {
    const name = `1001.${process.pid}`;
    for (let wait = 0; wait < 12; wait++) {
      const running = run({ argv: ["sh", "-c", `env -i setsid sleep ${name} & env -i setsid sleep ${name}; true`] });
      for (let turn = 0; turn < wait * 8; turn++) await new Promise((resolve) => void setImmediate(resolve));
      running.abort("cancelled");
      await running.outcome;
      expect(pids().filter((pid) => commandLine(pid).includes(name))).toEqual([]);
    }
  });

  test("one that ignores SIGTERM", async () => {
    const { outcome, printed, abort } = run({ argv: ["bash", "-c", "trap '' TERM; echo ready; while :; do sleep 1000; done"] });
    await until(() => printed.stdout === "ready\n", "ready");
    abort("run_timeout");
    expect(await outcome).toEqual({ kind: "cancelled" });
  });

  test("one that stopped itself still hears SIGTERM", async () => {
    const { outcome, printed, abort } = run({
      argv: ["bash", "-c", `trap 'echo bye > ${folder}/heard; exit' TERM; echo ready; kill -STOP $$; wait`],
    });
    await until(() => printed.stdout === "ready\n", "ready");
    await until(() => alive().some((pid) => /\) T /.test(stat(pid))), "stopped");
    abort("cancelled");
    await outcome;
    expect(readFileSync(path.join(folder, "heard"), "utf8")).toBe("bye\n");
  });

  test("a family that keeps forking", async () => {
    const { outcome, abort } = run({ argv: ["bash", "-c", "for i in 1 2 3 4 5; do (while :; do sleep 0.01 & wait; done) & done; wait"] });
    await until(() => alive().length >= 6, "the family");
    abort("cancelled");
    expect(await outcome).toEqual({ kind: "cancelled" });
  });

  test("after an abort before the start nothing is started", async () => {
    const running = run({ argv: ["sh", "-c", `: > ${folder}/started`] });
    running.abort("cancelled");
    expect(await running.outcome).toEqual({ kind: "cancelled" });
    expect(readdirSync(folder)).toEqual([]);
  });

  test("what an earlier life of the worker left is swept", async () => {
    const name = `1002.${process.pid}`;
    const unmarked = (): string[] => pids().filter((pid) => commandLine(pid).startsWith(`sleep\0${name}`));
    const running = run({ argv: ["sh", "-c", `setsid sleep 1000 & (env -i sleep ${name} &); wait; sleep 1000`] });
    await until(() => alive().length >= 2 && unmarked().length === 1, "the orphans-to-be");
    const executor = commandExecutor({ policy: { current: () => Policy.parse(OPEN) }, confinement, inherited: {} });
    await executor.sweep?.(path.dirname(folder), silentLog);
    expect(await running.outcome).toMatchObject({ kind: "failed", error: { code: "command_failed" } });
    expect(unmarked()).toEqual([]);
  });
});

/** "" for a process that is gone. */
function read(pid: string, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, "latin1");
  } catch (error) {
    if (["ENOENT", "ESRCH", "EACCES"].includes((error as NodeJS.ErrnoException).code ?? "")) return "";
    throw error;
  }
}

const commandLine = (pid: string): string => read(pid, "cmdline");
const stat = (pid: string): string => read(pid, "stat");
