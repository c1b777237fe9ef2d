/**
 * The command line against a real cluster: a coordinator, workers, nats-server and SQLite. Every command runs as a person
 * runs it, in a process of its own.
 */
import { execFileSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startCluster, until, writePolicy, type TestCluster, type TestDaemon } from "../support/daemon.ts";

const COMMANDS = { allow: { commands: ["uname -a", "sleep *", "false", "no-such-program"] } };
/** The issue allows a second from a node's coming to the start of what waited for it; a busy machine gets some more. */
const START_MS = 5_000;

let cluster: TestCluster;
let studio: TestDaemon;
beforeAll(async () => {
  cluster = await startCluster();
  studio = await cluster.addWorker("studio", { slots: 2, policy: COMMANDS });
  await cluster.addWorker("nas", { slots: 2, labels: { room: "cellar" } });
});
afterAll(() => cluster?.end());

const cli: TestCluster["cli"] = (...argv) => cluster.cli(...argv);

/** The id of a task that goes on until it is cancelled. */
async function startSleep(): Promise<string> {
  const { stdout } = await cli("exec", "--detach", "--", "sleep", "600");
  const id = stdout.trim();
  await until(`${id} runs`, async () => ((await cluster.client.getTask({ id } as never)).state === "running" ? true : undefined));
  return id;
}

test("exec prints what the command prints and ends as it ended", async () => {
  const here = execFileSync("uname", ["-a"], { encoding: "utf8" });
  expect(await cli("exec", "--", "uname", "-a")).toMatchObject({ code: 0, stdout: here, stderr: "" });
  const { code, json } = await cli("exec", "--json", "--", "uname", "-a");
  expect(code).toBe(0);
  expect(json).toMatchObject({
    kind: "command",
    state: "succeeded",
    node: "studio",
    attempt: 1,
    result: { exitCode: 0, stdoutTail: here },
  });

  const failed = await cli("exec", "--", "false");
  expect(failed).toMatchObject({ code: 1, stdout: "" });
  expect(failed.stderr).toContain("command_failed");
  const missing = await cli("exec", "--json", "--", "no-such-program");
  expect(missing.code).toBe(1);
  expect(missing.json).toMatchObject({ state: "failed", error: { code: "spawn_failed" } });
});

test("what failed is found in its group, and all of it is run again, cancelled or counted at once", async () => {
  const file = path.join(cluster.folder, "failing.json");
  const failing = { kind: "echo", input: { fail: true }, retry: { max: 0 }, labels: { batch: "dead" } };
  await writeFile(file, JSON.stringify([failing, failing]));
  expect((await cli("submit", "-f", file, "--wait", "--json")).code).toBe(1);
  const { groups } = (await cli("dead", "--json")).json;
  const group = groups.find(({ what }: { what: string }) => what === "The echo was asked to fail.");
  expect(group).toMatchObject({ code: "agent_failed", count: 2 });
  expect((await cli("dead")).stdout).toContain(group.alike);
  const listed = (await cli("ps", "--alike", group.alike, "--json")).json;
  expect(listed.tasks.map(({ id }: { id: string }) => id)).toEqual(group.examples);

  const alike = ["--dead", "--alike", group.alike];
  expect(await cli("retry", ...alike, "--dry-run")).toMatchObject({ code: 0, stdout: "would be run again: 2 tasks\n" });
  expect((await cli("retry", ...alike, "--json")).json).toMatchObject({ ok: true, matched: 2, changed: 2, refused: 0 });
  await until("both failed again", async () =>
    (await cli("ps", "--alike", group.alike, "--json")).json.tasks.every(({ attempt }: { attempt: number }) => attempt === 2)
      ? true
      : undefined,
  );
  expect(await cli("cancel", "--label", "batch=dead")).toMatchObject({ code: 0, stdout: "cancelled: 0 tasks\n" });
});

test("submit -f, ps, show and why agree about a task", async () => {
  const file = path.join(cluster.folder, "tasks.jsonl");
  const specs = [1, 2, 3].map((n) => ({ kind: "echo", name: `number ${n}`, input: { value: n }, labels: { batch: "one" } }));
  await writeFile(file, specs.map((spec) => JSON.stringify(spec)).join("\n"));
  const submitted = await cli("submit", "-f", file, "--wait", "--json");
  expect(submitted.code).toBe(0);
  expect(submitted.json.tasks).toMatchObject(
    specs.map((spec) => ({ name: spec.name, state: "succeeded", result: spec.input.value, spec })),
  );

  const listed = await cli("ps", "--label", "batch=one", "--json");
  expect(listed.json.tasks).toEqual(submitted.json.tasks.toReversed());
  const [{ id, node }] = submitted.json.tasks;
  expect((await cli("ps")).stdout).toMatch(new RegExp(`^${id} +succeeded +.*number 1`, "m"));
  expect((await cli("show", id, "--json")).json).toMatchObject({ id, attempts: [{ n: 1, node, state: "ended", outcome: "succeeded" }] });
  const why = (await cli("why", id, "--json")).json;
  expect(why).toMatchObject({ node, strategy: "balanced", sentence: expect.stringContaining(node) });
  expect([...why.candidates, ...why.refused].map((one: { node: string }) => one.node).toSorted()).toEqual(["nas", "studio"]);
});

test("cancel ends a running command, once", async () => {
  const id = await startSleep();
  const cancelled = await cli("cancel", id, "--json");
  expect(cancelled).toMatchObject({ code: 0, json: { ok: true, tasks: [{ id }], refused: [] } });
  await until(`${id} is cancelled`, async () => ((await cli("show", id, "--json")).json.state === "cancelled" ? true : undefined));
  const again = await cli("cancel", id, "--json");
  expect(again).toMatchObject({ code: 1, json: { ok: false, error: { code: "state_conflict" } } });
});

test.each([
  ["an unknown task", ["show", "t999999"], 1, "not_found"],
  ["an unknown node", ["nodes", "drain", "nobody"], 1, "not_found"],
  ["no task at all", ["cancel", "../x"], 2, "usage"],
  ["an unknown option", ["ps", "--nodes"], 2, "usage"],
  ["a missing file", ["submit", "-f", "no-such-file"], 2, "usage"],
  ["a wrong token", ["ps", "--token", "occ_wrong"], 1, "unauthorized"],
])("%s is told in words, as JSON, and by the exit code", async (_what, argv, exit, code) => {
  const [words, document] = await Promise.all([cli(...argv), cli(...argv, "--json")]);
  expect(words).toMatchObject({ code: exit, stdout: "", stderr: expect.stringContaining("hint: ") });
  expect(document).toMatchObject({ code: exit, json: { ok: false, error: { code, hint: expect.any(String) } } });
});

test("a drained node gets no work until it is resumed", async () => {
  expect(await cli("nodes", "drain", "nas")).toMatchObject({ code: 0, stdout: "nas ready, draining\n" });
  const { json } = await cli("nodes", "show", "nas", "--json");
  expect(json).toMatchObject({
    id: "nas",
    draining: true,
    labels: { room: "cellar" },
    facts: { slots: 2, policy: { kinds: ["echo", "agent"] } },
  });
  const { id } = await cluster.client.submit({ kind: "echo", input: { value: 1 }, require: { labels: { room: "cellar" } } });
  const why = await cli("why", id, "--json");
  expect(why.json.refused).toContainEqual(
    expect.objectContaining({ node: "nas", code: "draining", remedy: expect.stringContaining("resume") }),
  );
  expect((await cli("queue", "--json")).json).toMatchObject({ queued: 1, head: [{ id }] });

  expect(await cli("nodes", "resume", "nas")).toMatchObject({ code: 0, stdout: "nas ready\n" });
  expect(await cluster.client.getTask({ id, wait: 30 })).toMatchObject({ state: "succeeded", node: "nas" });
});

test("what no node can run waits, says why for each, and starts when such a node joins", async () => {
  const { id } = await cluster.client.submit({ kind: "echo", input: { value: "film" }, require: { labels: { gpu: "yes" } } });
  const why = await cli("why", id, "--json");
  expect(why.json.refused).toMatchObject([
    { node: "nas", code: "labels", detail: expect.stringContaining("gpu"), remedy: expect.stringContaining("gpu") },
    { node: "studio", code: "labels", detail: expect.stringContaining("gpu"), remedy: expect.stringContaining("gpu") },
  ]);
  const text = (await cli("why", id)).stdout;
  expect(text).toMatch(/^nas .*gpu/m);
  expect(text).toMatch(/^studio .*gpu/m);

  const home = path.join(cluster.folder, "render");
  const { code } = (await cli("invite", "--approve", "--json")).json as { code: string };
  const joined = await cli("join", "--no-start", code, "--home", home, "--node-id", "render", "--json");
  expect(joined).toMatchObject({ code: 0, json: { node: "render", state: "approved", url: cluster.url, home } });
  expect((await cli("config", "set", "labels", "gpu=yes", "--home", home)).code).toBe(0);
  expect((await cli("config", "set", "openclaw.enabled", "off", "--home", home)).code).toBe(0);
  expect(await cluster.client.getTask({ id })).toMatchObject({ state: "queued" });
  const render = await cluster.startHome(home);
  const task = await cluster.client.getTask({ id, wait: START_MS / 1_000 });
  expect(task).toMatchObject({ state: "succeeded", node: "render", result: "film" });

  // A label that an operator sets does the same for a node that is there.
  const second = await cluster.client.submit({ kind: "echo", input: {}, require: { labels: { room: "office" } } });
  expect(await cluster.client.getTask({ id: second.id })).toMatchObject({ state: "queued" });
  expect(await cli("nodes", "label", "studio", "room=office")).toMatchObject({ code: 0, stdout: "studio room=office\n" });
  expect(await cluster.client.getTask({ id: second.id, wait: START_MS / 1_000 })).toMatchObject({ state: "succeeded", node: "studio" });

  // And one that is asked to end does so by itself, in good order.
  expect((await cli("nodes", "shutdown", "render")).code).toBe(0);
  expect(await render.ended()).toMatchObject({ code: 0 });
  expect((await cli("nodes", "show", "render", "--json")).json.state).toBe("offline");
});

test("a policy that changes is obeyed without a restart, and why says what the old one lacked", async () => {
  const { stdout } = await cli("exec", "--detach", "--on", "nas", "--", "uname", "-a");
  const id = stdout.trim();
  const why = await cli("why", id, "--json");
  expect(why.json.refused).toContainEqual(
    expect.objectContaining({ node: "nas", code: "policy", remedy: expect.stringContaining("policy.yaml") }),
  );
  await writePolicy(path.join(cluster.folder, "nas"), COMMANDS);
  expect(await cluster.client.getTask({ id, wait: 30 } as never)).toMatchObject({ state: "succeeded", node: "nas" });
});

test("a second daemon in the same folder is refused, and the first goes on", async () => {
  const second = await cli("start", "--home", cluster.lead.home, "--port", "0", "--json");
  expect(second).toMatchObject({ code: 1, json: { ok: false, error: { code: "already_running" } } });
  const worker = await cli("start", "--home", studio.home, "--json");
  expect(worker).toMatchObject({ code: 1, json: { ok: false, error: { code: "already_running" } } });
  expect(await cluster.client.run({ kind: "echo", input: { value: 1 } })).toMatchObject({ state: "succeeded" });
  expect((await cli("status", "--json")).json.health).toMatchObject({ status: "ok" });
});
