/**
 * Bad input and bad programs against a real cluster. Whatever comes, the answer is a typed error or a bounded effect, and
 * after each test the cluster still works in bounded memory.
 */
import { chmod, writeFile } from "node:fs/promises";
import { request } from "node:http";
import path from "node:path";
import { ERRORS, Problem, type ErrorCode } from "@openclaw-cluster/contract/errors";
import { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import { JSON_DEPTH_MAX } from "@openclaw-cluster/contract/json";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import { TERMINAL, type Task } from "@openclaw-cluster/contract/task";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { rssMiB } from "../../scripts/bench/usage.ts";
import { startCluster, until, writePolicy, type TestCluster, type TestDaemon } from "../support/daemon.ts";
import { processesOf } from "../support/leaked-processes.ts";

/** Of any process of the cluster, at any time. A daemon at rest has about 160. */
const RSS_MIB_MAX = 400;
const GONE_MS = 5_000;

let cluster: TestCluster;
let worker: TestDaemon;
let stubborn: string;
beforeAll(async () => {
  cluster = await startCluster();
  stubborn = path.join(cluster.folder, "stubborn.sh");
  await writeFile(stubborn, STUBBORN);
  await chmod(stubborn, 0o755);
  const commands = ["head -c * *", "uname -a", "sleep *", "cat *", "printf **", stubborn];
  worker = await cluster.addWorker("studio", { slots: 4, policy: { allow: { commands } } });
});
afterAll(() => cluster?.end());

/** Hears no SIGTERM, and leaves grandchildren in sessions of their own without a parent. */
const STUBBORN = `#!/bin/sh
trap '' TERM HUP INT
setsid sh -c 'trap "" TERM HUP; sleep 600; sleep 600' &
(setsid sh -c 'trap "" TERM HUP; sleep 600; sleep 600' &)
echo ready
while :; do sleep 600; done
`;

const echo = (value: unknown): unknown => ({ kind: "echo", input: { value } });
const command = (...argv: string[]): TaskSpec => ({ kind: "command", input: { argv } });
const nested = (levels: number): string => `{"kind":"echo","input":{"value":${"[".repeat(levels)}${"]".repeat(levels)}}}`;
const post = (body: unknown, headers: Record<string, string> = {}) => cluster.ask({ method: "POST", path: "/api/v1/tasks", body, headers });
const end = (id: TaskId, wait = 30): Promise<Task> => cluster.client.getTask({ id, wait });

async function run(spec: unknown): Promise<Task> {
  const { status, json } = await post(spec);
  expect(status).toBe(202);
  return end(TaskId.parse(json.id));
}

async function memory(): Promise<number[]> {
  return Promise.all([cluster.lead.pid, worker.pid, await cluster.natsPid()].map(rssMiB));
}

afterEach(async () => {
  expect(await run(echo("still here"))).toMatchObject({ state: "succeeded", attempt: 1, result: "still here" });
  for (const mib of await memory()) expect(mib).toBeLessThan(RSS_MIB_MAX);
});

function expectProblem(answer: { status: number; json: unknown }, code: ErrorCode): void {
  expect(Problem.parse(answer.json)).toMatchObject({ code, status: ERRORS[code].status });
  expect(answer.status).toBe(ERRORS[code].status);
}

describe("requests", () => {
  test.each<[what: string, code: ErrorCode, body: unknown]>([
    ["an unknown field", "bad_request", { kind: "echo", input: {}, prio: 1 }],
    ["a wrong type", "bad_request", { kind: "command", input: { argv: "uname -a" } }],
    ["an unknown kind", "bad_request", { kind: "shell", input: {} }],
    ["bad JSON", "bad_request", '{"kind":"echo",'],
    ["1,000 skills", "bad_request", { kind: "echo", input: {}, require: { skills: Array.from({ length: 1_000 }, (_, n) => `s${n}`) } }],
    ["a level too many", "bad_request", nested(JSON_DEPTH_MAX + 1)],
    ["100,000 levels", "bad_request", nested(100_000)],
    ["a key __proto__ among the fields", "bad_request", '{"kind":"echo","input":{},"__proto__":{"admin":true}}'],
    ["a key __proto__ in a value", "bad_request", '{"kind":"echo","input":{"value":{"__proto__":{"admin":true}}}}'],
    ["a dedupeKey that is half a character", "bad_request", '{"kind":"echo","input":{},"dedupeKey":"\\ud801"}'],
    ["a spec of more than 256 KiB", "payload_too_large", echo("x".repeat(LIMITS.specBytesMax))],
    ["a time beyond time", "bad_request", { kind: "echo", input: {}, runAt: 1e300 }],
  ])("%s is refused as %s", async (_what, code, body) => {
    const { tasks } = await cluster.client.listTasks();
    expectProblem(await post(body), code);
    expect((await cluster.client.listTasks()).tasks).toEqual(tasks);
  });

  test("a body of 100 MB is refused before it is read", async () => {
    expectProblem(await postForever(100 * 1024 * 1024), "payload_too_large");
  });

  test.each([
    ["GET", "/api/v1/tasks/t999999"],
    ["GET", "/api/v1/tasks/t999999/logs"],
    ["POST", "/api/v1/tasks/t999999/cancel"],
    ["GET", "/api/v1/nodes/nobody"],
    ["GET", "/api/v1/nothing"],
  ])("%s %s is not found", async (method, place) => {
    expectProblem(await cluster.ask({ method, path: place }), "not_found");
  });

  test("an id that is none, and a wrong token", async () => {
    expectProblem(await cluster.ask({ path: `/api/v1/tasks/${encodeURIComponent("../../etc/passwd")}` }), "bad_request");
    expectProblem(await cluster.ask({ path: "/api/v1/tasks", headers: { authorization: "Bearer occ_wrong" } }), "unauthorized");
    expectProblem(await cluster.ask({ path: "/api/v1/tasks", headers: { authorization: undefined } }), "unauthorized");
  });

  test("one key for two bodies is a conflict, for one body the same task", async () => {
    const key = { "idempotency-key": "order 66" };
    const first = await post(echo(1), key);
    expect([first.status, (await post(echo(1), key)).json.id]).toEqual([202, first.json.id]);
    expectProblem(await post(echo(2), key), "idempotency_mismatch");
  });

  test("NUL and lone surrogates come back as they went in", async () => {
    const spec =
      '{"kind":"echo","name":"a\\u0000b","user":"\\ud800","labels":{"\\u0000":"\\udfff"},"input":{"value":{"\\ud800":"\\u0000"}}}';
    const task = await run(spec);
    expect(task).toMatchObject({ state: "succeeded", name: "a\0b", spec: JSON.parse(spec), result: { "\ud800": "\0" } });
    expect((await cluster.client.listTasks({ name: "a\0b" })).tasks).toEqual([task]);
    const shown = await cluster.cli("show", task.id);
    expect(shown).toMatchObject({ code: 0 });
    expect(shown.stdout).not.toMatch(/[\0\u001b]/);
  });

  test("as deep as is allowed goes all the way and back", async () => {
    const task = await run(nested(JSON_DEPTH_MAX));
    expect(task).toMatchObject({ state: "succeeded" });
    expect(JSON.stringify(task.result)).toHaveLength(2 * JSON_DEPTH_MAX);
  });

  test("labels that JavaScript knows from elsewhere are labels like any other", async () => {
    const { id } = await cluster.client.submit({ kind: "echo", input: {}, require: { labels: { constructor: "yes" } } });
    expect((await cluster.client.why({ id })).refused).toMatchObject([{ node: "studio", code: "labels" }]);
    await cluster.client.patchNode({ id: "studio" as never, labels: { constructor: "yes" } });
    expect(await end(id)).toMatchObject({ state: "succeeded" });
  });
});

describe("programs", () => {
  test.each<[what: string, code: ErrorCode, spec: TaskSpec]>([
    ["an argument with a NUL", "bad_request", command("printf", "a\0b")],
    ["a program that fails", "command_failed", command("cat", "/no/such/file")],
    ["one that runs too long", "run_timeout", { ...command("sleep", "600"), timeouts: { runMs: 300 }, retry: { max: 0 } }],
    ["one that says nothing", "idle_timeout", { ...command("sleep", "600"), timeouts: { idleMs: 300 }, retry: { max: 0 } }],
    ["one that is not done by its deadline", "deadline_passed", { ...command("sleep", "600"), deadline: Date.now() + 60_000 }],
  ])("%s ends as %s", async (_what, code, spec) => {
    // The deadline counts from now, not from when this file was read.
    const task = await run(spec.deadline === undefined ? spec : { ...spec, deadline: Date.now() + 400 });
    expect(task).toMatchObject({ state: "failed", error: { code } });
  });

  test("a gigabyte of output is cut, counted, and slows nobody down", async () => {
    const { id } = await cluster.client.submit(command("head", "-c", String(1024 ** 3), "/dev/zero"));
    let peak = 0;
    const task = await until(
      "its end",
      async () => {
        peak = Math.max(peak, ...(await memory()));
        const now = await cluster.client.getTask({ id });
        return TERMINAL.has(now.state) ? now : undefined;
      },
      50_000,
    );
    expect(task).toMatchObject({ state: "succeeded", result: { exitCode: 0, outputBytes: 1024 ** 3 } });
    expect(peak).toBeLessThan(RSS_MIB_MAX);
    let bytes = 0;
    const notes: string[] = [];
    for await (const { stream, text } of cluster.client.logs(id)) {
      if (stream === "note") notes.push(text);
      else bytes += Buffer.byteLength(text);
    }
    expect(bytes).toBe(LIMITS.outputBytesMax);
    expect(notes).toContain(`output cut at ${LIMITS.outputBytesMax} bytes`);
  });

  test.runIf(process.platform === "linux")(
    "one that ignores SIGTERM and leaves grandchildren is gone 5 s after its cancel, with all of them",
    async () => {
      const { id } = await cluster.client.submit(command(stubborn));
      const marker = path.join(worker.home, "data", "worker", "attempts", `${id}.1`);
      // The script, its sleep, and two shells with a sleep each.
      await until("the whole tree", () => (processesOf(marker).length >= 6 ? true : undefined));
      await cluster.client.cancel({ id });
      await until("all are gone", () => (processesOf(marker).length === 0 ? true : undefined), GONE_MS);
      expect(await end(id)).toMatchObject({ state: "cancelled" });
    },
  );

  test("kill -9 of the worker: what its commands left running is ended without it", async () => {
    const { id } = await cluster.client.submit({ ...command(stubborn), onLost: "fail" });
    const marker = path.join(worker.home, "data", "worker", "attempts", `${id}.1`);
    await until("the whole tree", () => (processesOf(marker).length >= 6 ? true : undefined));
    await until("it is known to run", async () => ((await cluster.client.getTask({ id })).state === "running" ? true : undefined));
    await worker.kill();
    await until("all are gone", () => (processesOf(marker).length === 0 ? true : undefined), GONE_MS);
    await worker.start();
    expect(await end(id)).toMatchObject({ state: "failed", reason: "outcome_unknown", attempt: 1, error: { code: "node_lost" } });
  });
});

describe("policy", () => {
  test("a program that no node allows waits, and why and the command line say so", async () => {
    const { id } = await cluster.client.submit(command("rm", "-rf", "/"));
    expect(await cluster.client.why({ id })).toMatchObject({
      refused: [{ node: "studio", code: "policy", remedy: expect.stringContaining("policy.yaml") }],
    });
    expect((await cluster.cli("why", id)).stdout).toMatch(/policy/);
    expect(await cluster.client.cancel({ id })).toMatchObject({ state: "cancelled" });
  });

  test("arguments that the node refuses are told as such, and the task waits for another node", async () => {
    const { id } = await cluster.client.submit(command("uname", "-r"));
    const attempt = await until("a refusal", async () =>
      (await cluster.client.attempts({ id })).attempts.find(({ outcome }) => outcome !== undefined),
    );
    expect(attempt).toMatchObject({
      node: "studio",
      outcome: "refused",
      error: { code: "policy_denied", message: expect.stringContaining("uname") },
    });
    expect((await cluster.client.why({ id })).refused).toMatchObject([{ node: "studio", detail: expect.stringContaining("policy") }]);
    const other = await cluster.addWorker("nas", { slots: 1, policy: { allow: { commands: ["uname *"] } } });
    expect(await end(id)).toMatchObject({ state: "succeeded", node: "nas" });
    expect(await other.stop()).toMatchObject({ code: 0 });
  });

  test("a node whose policy is broken takes nothing, says why, and works again when it is put right", async () => {
    const broken = await cluster.addWorker("broken", { slots: 1, policy: "version: 1\nallow: [\n" });
    await until("its first heartbeat", async () =>
      (await cluster.client.node({ id: NodeId.parse("broken") })).state === "ready" ? true : undefined,
    );
    const { id } = await cluster.client.submit({ kind: "echo", input: { value: 1 }, require: { nodes: ["broken"] } } as TaskSpec);
    const why = await cluster.client.why({ id });
    expect(why.refused).toContainEqual(expect.objectContaining({ node: "broken", code: "policy" }));
    expect((await cluster.client.getTask({ id })).state).toBe("queued");
    await writePolicy(broken.home, { allow: { echo: true } });
    expect(await end(id)).toMatchObject({ state: "succeeded", node: "broken" });
    expect(await broken.stop()).toMatchObject({ code: 0 });
  });
});

/** Goes on sending until it is answered. */
function postForever(bytes: number): Promise<{ status: number; json: unknown }> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(cluster.url);
    const headers = { authorization: `Bearer ${cluster.token}`, "content-type": "application/json", "content-length": String(bytes) };
    let answered = false;
    const posting = request({ hostname, port, method: "POST", path: "/api/v1/tasks", headers, agent: false }, (answer) => {
      let text = "";
      answered = true;
      answer.setEncoding("utf8");
      answer.on("data", (piece: string) => (text += piece));
      answer.on("end", () => {
        posting.destroy();
        resolve({ status: answer.statusCode ?? 0, json: JSON.parse(text) });
      });
    });
    posting.on("error", (error) => {
      if (!answered) reject(error);
    });
    const piece = Buffer.alloc(256 * 1024, " ");
    const pump = (): void => {
      if (!answered) posting.write(piece, () => setImmediate(pump));
    };
    pump();
  });
}
