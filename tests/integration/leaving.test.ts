/** One command on the other machine, and it works; another one, and it is gone for good, with nothing lost. On real daemons. */
import { readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { NodeId, type TaskId } from "@openclaw-cluster/contract/ids";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Running } from "../../scripts/child.ts";
import { runCommand } from "../../scripts/daemon.ts";
import { startCluster, until, untilOver, untilState, writePolicy, type TestCluster } from "../support/daemon.ts";
import { joinMember, type Member } from "../support/member.ts";
import { shell, SHELL_POLICY } from "../support/shell.ts";
import { spooledResults } from "../support/worker-home.ts";

const WORKING = /✔ task .*ran here/;

let cluster: TestCluster;
let members: Member[] = [];
let others: Running[] = [];
beforeAll(async () => {
  cluster = await startCluster();
});
afterEach(async () => {
  for (const { joined } of members) await joined.end();
  for (const other of others) await other.end();
  [members, others] = [[], []];
});
afterAll(() => cluster?.end());

async function member(id: string, options: Parameters<typeof joinMember>[2] = {}): Promise<Member> {
  const made = await joinMember(cluster, id, options);
  members.push(made);
  return made;
}
const at = (id: string): Pick<TaskSpec, "require"> => ({ require: { nodes: [NodeId.parse(id)] } });
/** Runs until the file is there, and says which node has run it. */
const waitsFor = (go: string): TaskSpec => shell(`while ! [ -e ${go} ]; do sleep 0.1; done; echo $OPENCLAW_CLUSTER_NODE`);
const known = async (id: string): Promise<boolean> => (await cluster.client.nodes({ all: true })).nodes.some((node) => node.id === id);
/** With a policy that allows a shell's line. */
async function shellMember(id: string): Promise<Member> {
  const made = await member(id);
  await made.joined.says(WORKING);
  await writePolicy(made.home, SHELL_POLICY);
  await until("its policy counts", async () =>
    (await cluster.client.node({ id: made.id })).facts?.policy.kinds.includes("command") === true ? true : undefined,
  );
  return made;
}

describe("join", () => {
  test("is all: the daemon runs, a task has run there, and a check list says so with the time that it took", async () => {
    const { joined } = await member("nas", { flags: ["--json"] });
    const ranAfterMs = Number(await joined.says(/"ranAfterMs": (\d+)/));
    process.stdout.write(`from the command to a task that has run there: ${ranAfterMs} ms\n`);
    expect(ranAfterMs).toBeGreaterThan(0);
    expect(await cluster.client.run({ kind: "echo", input: { value: 1 }, ...at("nas") } as TaskSpec)).toMatchObject({ node: "nas" });
    await joined.end("SIGTERM");
    const { code, stdout } = await joined.ended();
    expect(code).toBe(0);
    const document = JSON.parse(stdout) as { checks: { name: string; level: string }[] };
    expect(document).toMatchObject({ ok: true, node: "nas", name: "openclaw", state: "approved", url: cluster.url });
    expect(document.checks.filter(({ level }) => level === "fail")).toEqual([]);
  });

  test("waits for a person where it must, says the command for the other machine, and goes on by itself", async () => {
    const { joined } = await member("air", { terms: [] });
    await joined.says(/On the coordinator: openclaw-cluster nodes approve air/);
    await joined.says(/waiting for the coordinator at .*air has joined and waits to be let in/);
    expect((await cluster.cli("nodes", "approve", "air")).code).toBe(0);
    await joined.says(WORKING);
  });

  test("probes again whenever somebody asks, beside the daemon and after its end", async () => {
    const { joined, run } = await member("den");
    await joined.says(WORKING);
    expect(await run("probe").ended()).toMatchObject({ code: 0 });
    await joined.end("SIGTERM");
    await until("it is offline", async () =>
      (await cluster.client.node({ id: NodeId.parse("den") })).state === "offline" ? true : undefined,
    );
    const { code, stdout } = await run("probe").ended();
    expect(code).toBe(1);
    expect(stdout).toMatch(/✘ task .* has not run here: .*den/);
    expect((await cluster.client.listTasks({ node: NodeId.parse("den"), state: ["queued", "leased", "running"] })).tasks).toEqual([]);
  });
});

describe("leave", () => {
  // The tasks are lines of a POSIX shell.
  test.skipIf(process.platform === "win32")(
    "lets what runs there end, takes nothing new, and is forgotten; a new code lets it in again",
    async () => {
      const { joined, run, home, id } = await shellMember("studio");
      const go = path.join(cluster.folder, "studio.go");
      const task = await cluster.client.submit({ ...waitsFor(go), ...at("studio") } as TaskSpec);
      await untilState(cluster, task.id, "running");
      const leaving = run("leave");
      others.push(leaving);
      await until("it drains", async () => ((await cluster.client.node({ id })).draining ? true : undefined));
      const late = await cluster.client.submit({ kind: "echo", input: { value: "later" }, ...at("studio") } as TaskSpec);
      expect((await cluster.client.getTask({ id: task.id })).state).toBe("running");
      await writeFile(go, "");
      expect(await leaving.ended()).toMatchObject({ code: 0, stdout: expect.stringContaining("studio has left its cluster") as string });
      expect(await untilOver(cluster, task.id)).toMatchObject({ state: "succeeded", attempt: 1, result: { stdoutTail: "studio\n" } });
      expect((await joined.ended()).code).toBe(0);
      expect(await known("studio")).toBe(false);
      expect((await readdir(home)).filter((name) => /seed|token/.test(name))).toEqual([]);
      expect((await cluster.client.getTask({ id: late.id })).state).toBe("queued");

      const again = await member("studio");
      await again.joined.says(WORKING);
      expect(await untilOver(cluster, late.id)).toMatchObject({ state: "succeeded", node: "studio", result: "later" });
      const acts = (await cluster.cli("audit")).stdout;
      expect(acts).toMatch(/node studio +node\.drained +studio[^]*node studio +node\.left +studio[^]*node studio +node\.joined/);
    },
  );

  test.skipIf(process.platform === "win32")("now: what runs there goes to another node", async () => {
    const { joined, run } = await shellMember("east");
    await shellMember("west");
    expect((await cluster.cli("nodes", "drain", "west")).code).toBe(0);
    const go = path.join(cluster.folder, "now.go");
    const task = await cluster.client.submit(waitsFor(go));
    await untilState(cluster, task.id, "running");
    expect((await cluster.cli("nodes", "resume", "west")).code).toBe(0);
    expect((await run("leave", "--now").ended()).code).toBe(0);
    expect((await joined.ended()).code).toBe(0);
    await writeFile(go, "");
    expect(await untilOver(cluster, task.id)).toMatchObject({ state: "succeeded", node: "west", attempt: 2 });
  });

  test.skipIf(process.platform === "win32")("delivers first what an earlier life has left in its spool", async () => {
    const { joined, run, home } = await shellMember("attic");
    const go = path.join(cluster.folder, "attic.go");
    const { id } = await cluster.client.submit({ ...waitsFor(go), ...at("attic") } as TaskSpec);
    await dieBeforeTheReport(id, go, home, joined);
    expect(await run("leave").ended()).toMatchObject({ code: 0, stderr: expect.stringContaining("results of an earlier life") as string });
    expect(await cluster.client.getTask({ id })).toMatchObject({ state: "succeeded", attempt: 1, result: { stdoutTail: "attic\n" } });
    expect(await known("attic")).toBe(false);
  });

  test("of one that was never let in, whose daemon waits: that ends too", async () => {
    const { joined, run } = await member("shed", { terms: [] });
    await joined.says(/waiting for the coordinator/);
    expect(await run("leave").ended()).toMatchObject({ code: 0 });
    expect(await joined.ended()).toMatchObject({ code: 2, stderr: expect.stringContaining("knows no node shed") as string });
    expect(await known("shed")).toBe(false);
  });
});

/** The run ends while nobody can hear of it, and its worker dies with the result in its spool. */
async function dieBeforeTheReport(id: TaskId, go: string, home: string, daemon: Running): Promise<void> {
  await untilState(cluster, id, "running");
  await cluster.lead.kill();
  await writeFile(go, "");
  await until("the result is in the spool", () => (spooledResults(home) === 1 ? true : undefined));
  await daemon.end("SIGKILL");
  await cluster.lead.start();
}

test("the coordinator's own machine stays, and is told why", async () => {
  const end = await runCommand(["leave", "--home", cluster.lead.home]).ended();
  expect(end).toMatchObject({ code: 1, stderr: expect.stringContaining("lead runs the coordinator") as string });
  expect((await readFile(path.join(cluster.lead.home, "cluster.yaml"), "utf8")).length).toBeGreaterThan(0);
});
