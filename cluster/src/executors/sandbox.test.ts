/** Real commands in a real sandbox: what they see, what they can change, and what of them is left. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import type { ClusterId, NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { Outcome } from "@openclaw-cluster/contract/wire";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { findBubblewrap } from "../../../tests/support/bubblewrap.ts";
import { processesOf } from "../../../tests/support/leaked-processes.ts";
import { Policy } from "../core/policy.ts";
import { silentLog } from "../system/log.ts";
import { commandExecutor } from "./command.ts";
import { openConfinement, type Confinement } from "./confinement.ts";
import type { Execution } from "./executors.ts";

vi.setConfig({ testTimeout: 60_000 });

const bubblewrap = await findBubblewrap();
const missing = "missing" in bubblewrap ? bubblewrap.missing : undefined;
const PATH = "path" in bubblewrap ? bubblewrap.path : (process.env["PATH"] ?? "");
/** Where a sandbox shows what lies there. Only root may make something in such a place. */
const ROOM = process.getuid?.() === 0 ? "/var/lib" : tmpdir();
const NAME = `ocx-sandbox-${process.pid}`;
const NO_SANDBOX = { PATH: "/nowhere" };

/** The user's home, and in it the cluster's own folder and an attempt's. Elsewhere is a folder of the machine's. */
let user: string;
let cluster: string;
let folder: string;
let elsewhere: string;
let confinement: Confinement;
beforeEach(() => {
  user = realpathSync(mkdtempSync(path.join(tmpdir(), "ocx-sandbox-")));
  cluster = path.join(user, ".openclaw", "cluster");
  folder = path.join(cluster, "data", "worker", "attempts", "t7.1");
  elsewhere = realpathSync(mkdtempSync(path.join(ROOM, "ocx-sandbox-")));
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of [
    [".ssh/id_ed25519", "KEY"],
    [".openclaw/openclaw.json", "TOKEN"],
    [".openclaw/cluster/node.seed", "SEED"],
    ["plain/notes", "NOTES"],
    [".netrc", "PASSWORD"],
  ] as const) {
    mkdirSync(path.dirname(path.join(user, name)), { recursive: true });
    writeFileSync(path.join(user, name), text);
  }
  confinement = open({ ...process.env, PATH });
});
afterEach(() => {
  expect(processesOf(folder), "processes left behind").toEqual([]);
  confinement.close();
  rmSync(user, { recursive: true });
  rmSync(elsewhere, { recursive: true });
});

const open = (env: NodeJS.ProcessEnv): Confinement =>
  openConfinement({ folder: path.join(cluster, "data", "worker"), clusterHome: cluster, userHome: user, env, log: silentLog });

interface Ran {
  readonly outcome: Outcome;
  readonly stdout: string;
  readonly notes: string;
}

async function run(
  script: string,
  {
    rule = {},
    cwd,
    cwds = [],
    by = confinement,
    mode = "required",
  }: { rule?: object; cwd?: string; cwds?: string[]; by?: Confinement; mode?: string } = {},
  onOutput?: (text: string, abort: () => void) => void,
): Promise<Ran> {
  const policy = Policy.parse({ version: 1, allow: { commands: [{ run: "sh -c *", ...rule }], cwds }, sandbox: mode });
  const input = { argv: ["sh", "-c", script], ...(cwd !== undefined && { cwd }) };
  const spec: TaskSpec = { kind: "command", input };
  const controller = new AbortController();
  const printed = { stdout: "", note: "" };
  const execution: Execution = {
    cluster: "abcdefgh" as ClusterId,
    node: "studio" as NodeId,
    offer: { task: "t7" as TaskId, attempt: 1, epoch: 1, spec },
    signal: controller.signal,
    folder,
    log: silentLog,
    async output(stream, text) {
      if (stream === "stdout" || stream === "note") printed[stream] += text;
      onOutput?.(text, () => controller.abort("cancelled"));
    },
    progress: () => undefined,
    acted: () => undefined,
  };
  const outcome = await commandExecutor({ policy: { current: () => policy }, inherited: process.env, confinement: by }).run(
    spec as never,
    execution,
  );
  return { outcome, stdout: printed.stdout, notes: printed.note };
}

/** Everything secret that can be read, whatever way there is to it. */
const SECRETS = () =>
  `cat ${user}/.ssh/* ${user}/.openclaw/openclaw.json ${cluster}/node.seed ${user}/.netrc /proc/1/root${user}/.ssh/* 2>/dev/null; true`;

describe.skipIf(missing !== undefined)(`in a sandbox${missing === undefined ? "" : ` (skipped: ${missing})`}`, () => {
  test("the user's files are not there, nor the cluster's, nor other processes", async () => {
    expect((await run(SECRETS(), { mode: "none" })).stdout).toBe("KEYTOKENSEEDPASSWORD");
    expect(await run(`${SECRETS()}; ls -A ${user}; ls /run; ls /proc | grep -c '^[0-9]'`)).toMatchObject({
      outcome: { kind: "succeeded" },
      // The way to its own folder, and itself: bwrap's first, the shell, ls and grep.
      stdout: expect.stringMatching(/^\.openclaw\n[345]\n$/),
    });
  });

  test("its folder is its home and can be written, with a /tmp of its own; nothing else can", async () => {
    chmodSync(elsewhere, 0o777);
    const places = [elsewhere, user, "/etc", "/usr", "/dev", "/tmp", "/proc/sys/kernel", cluster];
    const { outcome, stdout } = await run(
      `echo mine > ~/file && echo tmp > /tmp/file && echo $HOME && pwd; for at in ${places.join(" ")}; do touch $at/${NAME} 2>/dev/null; done; true`,
    );
    expect({ outcome: outcome.kind, stdout }).toEqual({ outcome: "succeeded", stdout: `${folder}\n${folder}\n` });
    expect(places.filter((place) => existsSync(path.join(place, NAME)))).toEqual([]);
    expect(readFileSync(path.join(folder, "file"), "utf8")).toBe("mine\n");
    expect(existsSync("/tmp/file")).toBe(false);
  });

  test("there is no way back to more: no capability, no new mount, no namespace to be root in", async () => {
    const { outcome, stdout } = await run(
      `grep CapEff /proc/self/status; mount -o remount,rw / 2>/dev/null && echo remounted; unshare -Ur true 2>/dev/null && echo root; umount ${user} 2>/dev/null && echo unmounted; true`,
    );
    expect(outcome.kind).toBe("succeeded");
    expect(stdout.replace(/^root\n/m, "")).toBe("CapEff:\t0000000000000000\n");
  });

  test("the working folder can be written where the policy allows it, and only the rule's folders where it has some", async () => {
    const inner = path.join(elsewhere, "inner");
    mkdirSync(inner);
    const script = `touch ${elsewhere}/a 2>/dev/null && echo outer; touch ${inner}/b && echo inner`;
    expect((await run(script, { cwd: elsewhere, cwds: [elsewhere] })).stdout).toBe("outer\ninner\n");
    expect((await run(script, { cwd: elsewhere, cwds: [elsewhere], rule: { folders: [inner] } })).stdout).toBe("inner\n");
  });

  test("a folder of the user's that the policy shows is seen, and what is secret in it is not, by a link neither", async () => {
    symlinkSync(path.join(elsewhere, "keys"), path.join(user, ".aws"));
    mkdirSync(path.join(elsewhere, "keys"));
    writeFileSync(path.join(elsewhere, "keys", "credentials"), "CREDENTIALS");
    const { stdout } = await run(
      `${SECRETS()}; cat ${user}/plain/notes; cat ${elsewhere}/keys/credentials 2>/dev/null; touch ${user}/x 2>/dev/null && echo wrote`,
      { rule: { reads: [user] } },
    );
    expect(stdout).toBe("NOTES");
  });

  test("no network, the machine's own loopback included, unless the rule says so", async () => {
    const server = createServer((socket) => void socket.end("hello\n"));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      const { port } = server.address() as { port: number };
      const script = `bash -c 'exec 3<>/dev/tcp/127.0.0.1/${port} && cat <&3' 2>/dev/null || echo none; ls /sys/class/net | tr '\\n' ' '; cat /proc/net/dev | tail -n +3 | wc -l`;
      expect((await run(script)).stdout).toMatch(/^none\n/);
      expect((await run(script, { rule: { network: true } })).stdout).toMatch(/^hello\n/);
    } finally {
      server.close();
    }
  });

  test("exit codes and output are the program's; one that cannot be started is told so", async () => {
    expect(await run("echo out; echo err >&2; exit 7")).toMatchObject({
      stdout: "out\n",
      outcome: { kind: "failed", error: { code: "command_failed", data: { exitCode: 7, stdoutTail: "out\n", stderrTail: "err\n" } } },
    });
  });

  test("a cancel is heard politely inside, and whoever does not hear it is gone too", async () => {
    const heard = await run(
      `trap 'echo bye > ${folder}/heard; exit' TERM; (setsid sh -c 'trap "" TERM; sleep 600' &); echo ready; while :; do sleep 0.1; done`,
      {},
      (text, abort) => {
        if (text.includes("ready")) abort();
      },
    );
    expect(heard.outcome).toEqual({ kind: "cancelled" });
    expect(readFileSync(path.join(folder, "heard"), "utf8")).toBe("bye\n");
  });
});

describe("where there is none", () => {
  test("required: the offer is refused, typed, and nothing was started", async () => {
    const without = open(NO_SANDBOX);
    const { outcome } = await run(`touch ${folder}/started`, { by: without });
    expect(outcome).toEqual({
      kind: "refused",
      error: {
        code: "sandbox_unavailable",
        message: "This node's policy runs sh in a sandbox only, and there is none: bubblewrap (bwrap) is not installed.",
      },
    });
    expect(existsSync(path.join(folder, "started"))).toBe(false);
    without.close();
  });

  test("a bwrap that does not work is none", async () => {
    const bin = path.join(user, "bin");
    mkdirSync(bin);
    writeFileSync(path.join(bin, "bwrap"), "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n", {
      mode: 0o755,
    });
    const broken = open({ PATH: bin });
    expect((await run("true", { by: broken })).outcome).toMatchObject({
      kind: "refused",
      error: { code: "sandbox_unavailable", message: expect.stringContaining("No permissions to create new namespace") },
    });
    broken.close();
  });

  test("preferred: it runs, and says that it runs without", async () => {
    const without = open(NO_SANDBOX);
    expect(await run("echo done", { by: without, mode: "preferred" })).toMatchObject({
      outcome: { kind: "succeeded" },
      stdout: "done\n",
      notes: "This node has no sandbox (bubblewrap (bwrap) is not installed), so the command runs without one.\n",
    });
    without.close();
  });
});
