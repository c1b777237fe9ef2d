/**
 * A coordinator that was taken over: the test has its key of the bus and sends whatever it likes to a real worker's daemon, in the
 * right form and in the right name. What runs there is for that machine's policy alone to say. Each forbidden command would leave
 * a mark, and so does the one that is allowed.
 */
import { chmod, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { ClusterId, NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { Finished, Heartbeat, Report } from "@openclaw-cluster/contract/wire";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ANY_HEARTBEAT, ANY_REPORT, offersTo } from "../../cluster/src/bus/subjects.ts";
import { createNodeKeys } from "../../cluster/src/trust/keys.ts";
import { proveSession } from "../../cluster/src/trust/session-proof.ts";
import { signer } from "../../cluster/src/trust/signature.ts";
import { startDaemon, type StartedDaemon } from "../../scripts/daemon.ts";
import { startApi, type TestApi } from "../support/api-server.ts";
import { until, writePolicy } from "../support/daemon.ts";
import { startTestNats, type TestNats } from "../support/nats.ts";

const NODE = NodeId.parse("studio");
const CLUSTER = ClusterId.parse("abcd1234");
const ANN = { token: "annannan", name: "ann" };
const EPOCH = 1;
const ARRIVE_MS = 10_000;

type Command = Extract<TaskSpec, { kind: "command" }>["input"];

let folder: string;
let marks: string;
let bin: string;
let work: string;
let home: string;
let api: TestApi;
let nats: TestNats;
let daemon: StartedDaemon;
let boot = 0;
let count = 0;
const ends = new Map<string, Finished>();

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "ocx-hostile-"));
  [marks, bin, work, home] = ["marks", "bin", "work", "home"].map((name) => path.join(folder, name)) as [string, string, string, string];
  for (const place of [marks, bin, path.join(work, "deep"), home]) await mkdir(place, { recursive: true });
  const touching = `#!/bin/sh\n: >"${marks}/of-another-program"\n`;
  for (const name of ["touch", "tidy.sh"]) {
    await writeFile(path.join(bin, name), touching);
    await chmod(path.join(bin, name), 0o755);
  }
  await symlink(marks, path.join(work, "link"));
  await writePolicy(home, openPolicy());

  const keys = createNodeKeys();
  await writeFile(path.join(home, "node.seed"), Buffer.from(keys.seed), { mode: 0o600 });
  nats = await startTestNats();
  await writeFile(path.join(home, "coordinator.key"), `${nats.coordinatorKeys.publicKey}\n`, { mode: 0o600 });
  // Lets its key in; the daemon takes the connection's place.
  await (await nats.connectAs(NODE, keys)).close();
  api = await startApi();
  const { publicKey: coordinatorKey, seed } = nats.coordinatorKeys;
  const told = { node: NODE, cluster: CLUSTER, state: "approved" as const, busUrls: [nats.server.url], coordinatorKey, epoch: EPOCH };
  api.coordinator.session = async (_id, request) => proveSession({ ...told, now: Date.now() }, request, signer(seed));
  const bus = nats.coordinatorBus;
  bus.subscribe(ANY_HEARTBEAT, ({ body, respond }) => {
    ({ boot } = body as Heartbeat);
    respond?.({ epoch: EPOCH, leaseMs: 60_000 });
  });
  bus.subscribe(ANY_REPORT, ({ body, respond }) => {
    const { finished } = body as Report;
    for (const one of finished) ends.set(one.task, one);
    respond?.({ epoch: EPOCH, verdicts: finished.map(() => "accepted") });
  });
  // Nothing answers there; the node has executors for agents and tools all the same.
  const openclaw = { url: "http://127.0.0.1:1", tokenFile: path.join(home, "gateway.token") };
  await writeFile(openclaw.tokenFile, "none", { mode: 0o600 });
  daemon = await startDaemon(home, { nodeId: NODE, roles: ["worker"], coordinator: { url: api.url }, openclaw, log: { level: "warn" } });
  await until("its first heartbeat", () => boot > 0 || undefined);
});
afterAll(async () => {
  await daemon?.process.end();
  await api?.close();
  await nats?.stop();
  await rm(folder, { recursive: true, force: true });
});

const openPolicy = (): object => ({
  allow: {
    echo: true,
    agents: ["helper"],
    tools: ["web_fetch"],
    commands: [["touch", `${marks}/allowed`], "git log *", "sh **", "env **", `${bin}/tidy.sh quiet`],
    cwds: [work],
    env: ["APP_*"],
  },
  deny: { commands: ["git log secret"], tools: ["web_post"], agents: ["private"] },
  users: { allow: ["ann"], deny: ["token:bobbobbo"] },
});

/** As the real coordinator would say it, and its end. */
async function offer(spec: unknown, submitter: unknown = ANN): Promise<Finished> {
  const task = TaskId.parse(`t${(count += 1)}`);
  const offers = [{ task, attempt: 1, epoch: EPOCH, spec, ...(submitter !== undefined && { submitter }) }];
  await nats.coordinatorBus.deliver(offersTo(NODE), { epoch: EPOCH, boot, offers }, ARRIVE_MS);
  return until(`the end of ${task}`, () => ends.get(task));
}
const command = (argv: readonly string[], more: Partial<Command> = {}): TaskSpec => ({
  kind: "command",
  input: { argv: [...argv], ...more },
});
const DENIED = { outcome: { kind: "refused", error: { code: "policy_denied" } } };

test("what the policy allows runs, so that a mark means something", async () => {
  expect(await offer(command(["touch", `${marks}/allowed`]))).toMatchObject({ outcome: { kind: "succeeded" } });
  expect(await readdir(marks)).toEqual(["allowed"]);
  expect(await offer({ kind: "echo", input: { value: 1 } })).toMatchObject({ outcome: { kind: "succeeded", result: 1 } });
});

describe("kinds", () => {
  test.each<[string, unknown]>([
    ["an agent that is not allowed", { kind: "agent", input: { message: "hi", agent: "other" } }],
    ["an agent that is denied", { kind: "agent", input: { message: "hi", agent: "private" } }],
    ["no agent in particular", { kind: "agent", input: { message: "hi" } }],
    [
      "an allowed agent, by whose session another is meant",
      { kind: "agent", input: { message: "hi", agent: "helper", session: "agent:private:main" } },
    ],
    ["a tool that is not allowed", { kind: "tool", input: { tool: "exec", args: { command: "id" } } }],
    ["a tool that is denied", { kind: "tool", input: { tool: "web_post" } }],
    ["a tool in another case", { kind: "tool", input: { tool: "Web_fetch" } }],
    ["an allowed tool with another's agent", { kind: "tool", input: { tool: "web_fetch", agent: "private" } }],
  ])("%s: refused", async (_what, spec) => {
    expect(await offer(spec)).toMatchObject(DENIED);
  });

  test.each<[string, unknown]>([
    ["a kind that there is not", { kind: "shell", input: { line: "id" } }],
    ["a shell's line in the place of arguments", { kind: "command", input: { argv: "touch /tmp/x" } }],
    ["a field more, for whoever reads it", { ...command(["touch", "x"]), policy: { allow: { commands: ["**"] } } }],
    ["no spec", undefined],
  ])("%s: refused as no task", async (_what, spec) => {
    expect(await offer(spec)).toMatchObject({ outcome: { kind: "refused", error: { code: "bad_request" } } });
  });
});

describe("commands that are nearly allowed", () => {
  // Of functions, because the folders are not there yet when this is read.
  test.each<[string, () => TaskSpec]>([
    ["another argument", () => command(["touch", `${marks}/other`])],
    ["the same file by another path", () => command(["touch", `${marks}/./allowed`])],
    ["an argument more", () => command(["touch", `${marks}/allowed`, `${marks}/more`])],
    ["an argument less", () => command(["touch"])],
    ["an option before it", () => command(["touch", "-r", `${marks}/allowed`])],
    ["a blank after it", () => command(["touch", `${marks}/allowed `])],
    ["a line's end in it", () => command(["touch", `${marks}/allowed\n`])],
    ["all of it in one word", () => command([`touch ${marks}/allowed`])],
    ["another program of that name", () => command([`${bin}/touch`, `${marks}/allowed`])],
    ["the program by a relative path", () => command(["./touch", `${marks}/allowed`], { cwd: work })],
    ["the program in capitals", () => command(["TOUCH", `${marks}/allowed`])],
    ["a program of the policy's by its bare name, with another argument", () => command(["tidy.sh", "loud"])],
    ["an interpreter's code", () => command(["sh", "-c", `: >${marks}/x`])],
    ["an interpreter's code behind an option", () => command(["sh", "-e", "-c", `: >${marks}/x`])],
    ["an interpreter's code on stdin", () => command(["sh"], { stdin: `: >${marks}/x\n` })],
    ["a program that another one carries", () => command(["env", "touch", `${marks}/x`])],
    ["a variable before a carried program", () => command(["env", "A=1", "touch", `${marks}/x`])],
    ["what a longer rule denies", () => command(["git", "log", "secret"])],
    ["another PATH", () => command(["touch", `${marks}/allowed`], { env: { PATH: bin } })],
    ["a library to load first", () => command(["touch", `${marks}/allowed`], { env: { LD_PRELOAD: `${bin}/x.so` } })],
    ["a variable whose name only begins alike", () => command(["touch", `${marks}/allowed`], { env: { APP: "1" } })],
    ["a folder outside", () => command(["touch", `${marks}/allowed`], { cwd: marks })],
    ["a folder that goes up again", () => command(["touch", `${marks}/allowed`], { cwd: `${work}/deep/../../marks` })],
    ["a folder whose name only begins alike", () => command(["touch", `${marks}/allowed`], { cwd: `${work}shop` })],
    ["a link that leads outside", () => command(["touch", `${marks}/allowed`], { cwd: `${work}/link` })],
  ])("%s: refused, and nothing has run", async (_what, spec) => {
    expect(await offer(spec())).toMatchObject(DENIED);
    expect(await readdir(marks)).toEqual(["allowed"]);
  });
});

describe("whom it says that it is for", () => {
  test.each<[string, unknown]>([
    ["somebody else", { token: "bobbobbo", name: "bob" }],
    ["nobody", null],
    ["a name without a token", { name: "ann" }],
    ["a name that only looks alike", { token: "xxxxxxxx", name: "Ann" }],
    ["a name with a blank", { token: "xxxxxxxx", name: "ann " }],
    ["a denied token under an allowed name", { token: "bobbobbo", name: "ann" }],
    ["a list", [ANN]],
  ])("%s: refused", async (_what, submitter) => {
    expect(await offer({ kind: "echo", input: {} }, submitter)).toMatchObject(DENIED);
  });
});

describe("when its owner has closed it", () => {
  test.each<[string, () => object | string]>([
    ["for these hours", () => ({ ...openPolicy(), hours: { quiet: ["00:00-24:00"], timeZone: "UTC" } })],
    ["for every kind", () => ({ ...openPolicy(), deny: { kinds: ["echo", "command", "agent", "tool"] } })],
    ["for everybody", () => ({ ...openPolicy(), users: { allow: [] } })],
    ["by a mistake in the file", () => "version: 1\nallow: [\n"],
  ])("%s: nothing runs, whatever is offered", async (_what, policy) => {
    await writePolicy(home, policy());
    await until("it has read the file", async () => (await offer({ kind: "echo", input: {} })).outcome.kind === "refused" || undefined);
    const specs: TaskSpec[] = [
      { kind: "echo", input: { value: 1 } },
      { kind: "echo", input: { value: 1 }, require: { nodes: [NODE] } },
      command(["touch", `${marks}/allowed`]),
      { kind: "agent", input: { message: "hi", agent: "helper" } },
      { kind: "tool", input: { tool: "web_fetch" } },
    ];
    for (const spec of specs) expect(await offer(spec)).toMatchObject(DENIED);
    await writePolicy(home, openPolicy());
    await until("it is open again", async () => (await offer({ kind: "echo", input: {} })).outcome.kind === "succeeded" || undefined);
  });
});
