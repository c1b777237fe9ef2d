/** Real commands in a real sandbox: what they see, what they can change, and what of them is left. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
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
import type { Shown } from "./shown-places.ts";

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

  /** As another task would that may write there: a folder is a link from now on, at the latest moment before or after the box is made. */
  const swapped = (place: string, target: string, when: "before" | "after"): Confinement => {
    const swap = (): void => {
      renameSync(place, `${place}.aside`);
      symlinkSync(target, place);
    };
    return Object.assign(Object.create(confinement) as Confinement, {
      async boxed(shown: Shown) {
        if (when === "before") swap();
        const box = await confinement.boxed(shown);
        if (when === "after") swap();
        return box;
      },
    });
  };

  test.each(["before", "after"] as const)(
    "a working folder that becomes a link %s the box is made shows nothing of where it leads (P1)",
    async (when) => {
      const project = path.join(user, "project");
      for (const rule of [{}, { folders: [path.join(project, "sub")] }, { reads: [path.join(project, "sub")] }]) {
        mkdirSync(path.join(project, "sub", "deep"), { recursive: true });
        const by = swapped(path.join(project, "sub"), user, when);
        const script = `${SECRETS()}; cat ${user}/plain/notes plain/notes .ssh/* 2>/dev/null; touch ${user}/x x 2>/dev/null; true`;
        const { stdout } = await run(script, {
          rule,
          cwd: path.join(project, "sub"),
          cwds: [project],
          by,
        });
        expect(stdout).toBe("");
        expect(existsSync(path.join(user, "x"))).toBe(false);
        rmSync(project, { recursive: true });
      }
    },
  );

  test("a part of the way to it neither", async () => {
    const project = path.join(user, "project");
    mkdirSync(path.join(project, "a", "plain"), { recursive: true });
    const cwd = path.join(project, "a", "plain");
    const { stdout } = await run(`cat notes 2>/dev/null; touch x 2>/dev/null; true`, {
      cwd,
      cwds: [project],
      by: swapped(path.join(project, "a"), user, "after"),
    });
    expect(stdout).toBe("");
    expect(existsSync(path.join(user, "plain", "x"))).toBe(false);
  });

  test("a folder of a rule that another command has made a link is not shown, and the owner is told (P1)", async () => {
    const project = path.join(user, "project");
    mkdirSync(project);
    symlinkSync(user, path.join(project, ".venv"));
    for (const rule of [{ reads: [path.join(project, ".venv")] }, { folders: [path.join(project, ".venv", "plain")] }])
      for (const mode of ["required", "preferred"])
        expect(await run(`${SECRETS()}; cat ${user}/plain/notes`, { rule, cwds: [project], mode })).toMatchObject({
          stdout: "",
          outcome: {
            kind: "refused",
            error: { code: "policy_denied", message: expect.stringContaining(`${project}/.venv is a link`) as string },
          },
        });
  });

  test("what may be written never holds a hidden place, whose way could be moved (P2)", async () => {
    mkdirSync(path.join(user, ".local", "share", "keyrings"), { recursive: true });
    for (const [rule, cwd] of [
      [{ folders: [user] }, undefined],
      [{}, user],
      [{ folders: [path.join(user, ".local")] }, undefined],
      [{ folders: [path.dirname(cluster)] }, undefined],
    ] as const)
      expect(
        await run(`mv ${user}/.local/share ${user}/.local/moved`, { rule, ...(cwd !== undefined && { cwd }), cwds: [user] }),
      ).toMatchObject({ outcome: { kind: "refused", error: { code: "policy_denied" } } });
    expect(existsSync(path.join(user, ".local", "share"))).toBe(true);
  });

  test("below a folder in which others work, only the working folder is there; a folder to read around it stays (P3)", async () => {
    mkdirSync(path.join(elsewhere, "one", "deep"), { recursive: true });
    mkdirSync(path.join(elsewhere, "two"));
    const cwd = path.join(elsewhere, "one", "deep");
    const script = `ls -A ${elsewhere} ${elsewhere}/one | tr '\\n' ' '; touch here && echo wrote; touch ${elsewhere}/two/x 2>/dev/null && echo more; true`;
    expect((await run(script, { cwd, cwds: [elsewhere] })).stdout).toBe(`${elsewhere}: one  ${elsewhere}/one: deep wrote\n`);
    expect(existsSync(path.join(cwd, "here"))).toBe(true);
    const direct = await run(script, { cwd: path.join(elsewhere, "two"), cwds: [elsewhere], rule: { reads: [elsewhere] } });
    expect(direct.stdout).toBe(`${elsewhere}: one two  ${elsewhere}/one: deep wrote\nmore\n`);
    // Deeper down another command could change the way there while it is shown.
    expect((await run(script, { cwd, cwds: [elsewhere], rule: { reads: [elsewhere] } })).outcome).toMatchObject({
      kind: "refused",
      error: { code: "policy_denied" },
    });
  });

  test("no descriptor is left open, in the daemon or inside", async () => {
    const open = (): number => readdirSync("/proc/self/fd").length;
    const before = open();
    const more = { cwd: elsewhere, cwds: [elsewhere], rule: { reads: [path.join(user, "plain")] } };
    expect((await run("ls /proc/self/fd", more)).stdout).toBe((await run("ls /proc/self/fd")).stdout);
    for (let n = 0; n < 3; n++) await run("true", more);
    await run("true", { rule: { folders: [elsewhere, path.join(user, ".ssh"), user] } });
    expect(open() - before).toBeLessThan(3);
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
