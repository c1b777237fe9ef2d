import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TaskId } from "@openclaw-cluster/contract/ids";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { OutputChunk, OutputStream } from "@openclaw-cluster/contract/wire";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { startApi, type TestApi } from "../../../tests/support/api-server.ts";
import { runCli, startCli, type CliOptions } from "../../../tests/support/terminal.ts";

let api: TestApi;
let env: Record<string, string>;
beforeEach(async () => {
  api = await startApi();
  env = { OPENCLAW_CLUSTER_HOME: "/nonexistent/cluster", OPENCLAW_CLUSTER_URL: api.url, OPENCLAW_CLUSTER_TOKEN: api.tokens.admin };
});
afterEach(() => api.close());

const cli = (argv: readonly string[], options: CliOptions = {}): ReturnType<typeof runCli> => runCli(argv, { env, ...options });
const T1 = TaskId.parse("t1");
const agent: TaskSpec = { kind: "agent", input: { message: "Say hello" } };
const submit = (...specs: TaskSpec[]) => api.coordinator.submit({ owner: "test", specs });
const submittedSpecs = (): readonly TaskSpec[] => api.coordinator.requests.flatMap(({ specs }) => specs);

function says(...pieces: readonly (readonly [stream: OutputStream, text: string, attempt?: number])[]): void {
  const chunks = pieces.map(([stream, text, attempt = 1], n): OutputChunk => ({ task: T1, attempt, n, at: 0, stream, text }));
  api.coordinator.output.set(T1, chunks);
}

/** Its output and its end are both waited for. */
const followed = (): Promise<unknown> => vi.waitFor(() => expect(api.coordinator.listening).toBe(2), { timeout: 5_000 });

describe("run", () => {
  it("submits an agent's turn and leaves", async () => {
    const options = ["--agent", "main", "--session", "s", "--model", "openai/gpt", "--skill", "summarize", "--priority", "high"];
    const places = ["--on", "studio", "--on", "gpu=yes", "--label", "project=x", "--name", "greeting"];
    const { code, stdout, stderr } = await cli(["run", "Say hello", ...options, ...places]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: "t1\n" });
    expect(stderr).toContain("openclaw-cluster logs t1 -f");
    expect(submittedSpecs()).toEqual([
      {
        kind: "agent",
        input: { message: "Say hello", agent: "main", session: "s", model: "openai/gpt", skill: "summarize" },
        require: { nodes: ["studio"], labels: { gpu: "yes" } },
        labels: { project: "x" },
        priority: "high",
        name: "greeting",
      },
    ]);
    expect(JSON.parse((await cli(["run", "again", "--json"])).stdout)).toEqual({ id: "t2", state: "queued" });
  });

  it("follows the words on stdout, tools and the end on stderr", async () => {
    says(["assistant", "Hel"], ["tool", "read notes.md"], ["assistant", "lo\u001b[2J!"]);
    api.coordinator.beforeAnswer = () => api.coordinator.finish([T1]);
    const { code, stdout, stderr } = await cli(["run", "Say hello", "--follow"]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: "Hel\nlo[2J!\n" });
    expect(stderr).toMatch(/^· read notes\.md\nt1 succeeded on studio/);
  });

  it("follows a turn that is still under way", async () => {
    says(["assistant", "Hel"]);
    const { terminal, ended } = startCli(["run", "Say hello", "-f"], { env });
    await followed();
    api.coordinator.output.get(T1)?.push({ task: T1, attempt: 1, n: 1, at: 0, stream: "assistant", text: "lo" });
    api.coordinator.finish([T1]);
    expect(await ended).toBe(0);
    expect(terminal.stdout).toBe("Hello\n");
  });

  it("prints the answer with --wait, and ends with 1 when there is none", async () => {
    api.coordinator.beforeAnswer = ([task]) => api.coordinator.finish([task!.id], { result: { text: "Hello!" } });
    expect(await cli(["run", "Say hello", "--wait"])).toMatchObject({ code: 0, stdout: "Hello!\n" });
    const error = { code: "agent_failed" as const, message: "the model is down" };
    api.coordinator.beforeAnswer = ([task]) => api.coordinator.finish([task!.id], { state: "failed", error });
    expect(await cli(["run", "Say hello", "--wait"])).toMatchObject({
      code: 1,
      stdout: "",
      stderr: "t2 failed on studio: the model is down (agent_failed)\n",
    });
  });

  it("leaves the task running on Ctrl-C and says how to cancel it", async () => {
    const { terminal, ended } = startCli(["run", "Say hello", "--follow"], { env });
    await followed();
    terminal.interrupt();
    expect(await ended).toBe(130);
    expect(terminal.stderr).toContain("left t1 running; cancel it: openclaw-cluster cancel t1");
    expect(api.coordinator.tasks.get(T1)?.state).toBe("queued");
  });

  it("streams one document in each line with --follow --json", async () => {
    says(["assistant", "a"], ["assistant", "b"]);
    api.coordinator.beforeAnswer = () => api.coordinator.finish([T1]);
    const { stdout } = await cli(["run", "Say hello", "--follow", "--json"]);
    const lines = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.map((line) => line["text"] ?? line["state"])).toEqual(["a", "b", "succeeded"]);
  });
});

describe("exec", () => {
  it("prints what the command prints and ends as it ended", async () => {
    says(["stdout", "Linux\n"], ["stderr", "careful\n"], ["stdout", "no line end"]);
    api.coordinator.beforeAnswer = () => api.coordinator.finish([T1]);
    const { code, stdout, stderr } = await cli(["exec", "--", "uname", "-a", "--json"]);
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "Linux\nno line end", stderr: "careful\n" });
    expect(submittedSpecs()).toEqual([{ kind: "command", input: { argv: ["uname", "-a", "--json"] } }]);
  });

  it("ends with 1 when the command failed", async () => {
    const error = { code: "command_failed" as const, message: "exit code 3" };
    api.coordinator.beforeAnswer = () => api.coordinator.finish([T1], { state: "failed", error });
    const { code, stderr } = await cli(["exec", "--", "false"]);
    expect(code).toBe(1);
    expect(stderr).toBe("t1 failed on studio: exit code 3 (command_failed)\n");
  });

  it("prints the task alone with --json, its id with --detach", async () => {
    says(["stdout", "not here"]);
    api.coordinator.beforeAnswer = () => api.coordinator.finish([T1], { result: { exitCode: 0 } });
    const { stdout } = await cli(["exec", "--json", "--", "true"]);
    expect(JSON.parse(stdout)).toMatchObject({ id: "t1", state: "succeeded", result: { exitCode: 0 } });
    expect(await cli(["exec", "--detach", "--", "sleep", "9"])).toMatchObject({ code: 0, stdout: "t2\n" });
  });
});

describe("submit", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "submit-"));
  });
  afterEach(() => rm(folder, { recursive: true }));
  const file = async (text: string): Promise<string> => {
    await writeFile(join(folder, "tasks"), text);
    return join(folder, "tasks");
  };
  const echo = (value: number): string => JSON.stringify({ kind: "echo", input: { value } });

  it.each([
    ["one task", echo(1), 1],
    ["an array", `[${echo(1)},\n ${echo(2)}]`, 2],
    ["a task in each line", `${echo(1)}\n\n${echo(2)}\n${echo(3)}\n`, 3],
  ])("takes %s", async (_what, text, count) => {
    const { code, stdout } = await cli(["submit", "-f", await file(text)]);
    expect(code).toBe(0);
    expect(stdout).toBe(Array.from({ length: count }, (_none, at) => `t${at + 1}\n`).join(""));
  });

  it("reads stdin", async () => {
    const { stdout } = await cli(["submit", "-f", "-", "--json"], { input: echo(7) });
    expect(JSON.parse(stdout)).toEqual({ tasks: [{ id: "t1", state: "queued" }] });
  });

  it("waits for all", async () => {
    api.coordinator.beforeAnswer = (tasks) => {
      api.coordinator.finish([tasks[0]!.id]);
      api.coordinator.finish([tasks[1]!.id], { state: "failed" });
    };
    expect(await cli(["submit", "-f", await file(`[${echo(1)},${echo(2)}]`), "--wait"])).toMatchObject({
      code: 1,
      stdout: "t1 succeeded\nt2 failed\n",
    });
  });

  it.each([
    ["no JSON", "{kind: echo}", "is not JSON"],
    ["one bad line", `${echo(1)}\n{"kind"\n`, "line 2 is not JSON"],
  ])("refuses %s", async (_what, text, told) => {
    expect(await cli(["submit", "-f", await file(text)])).toMatchObject({ code: 2, stderr: expect.stringContaining(told) });
  });

  it("tells what the coordinator does not take, and a file that is not there", async () => {
    const bad = await cli(["submit", "-f", await file('{"kind":"echo","input":{},"colour":"red"}')]);
    expect(bad).toMatchObject({ code: 2, stderr: expect.stringContaining("colour") });
    expect(await cli(["submit", "-f", join(folder, "none")])).toMatchObject({ code: 2, stderr: expect.stringContaining("cannot read") });
  });
});

describe("looking at tasks", () => {
  const named = (id: string, name: string): void => {
    const task = api.coordinator.tasks.get(TaskId.parse(id));
    if (task !== undefined) api.coordinator.tasks.set(task.id, { ...task, name });
  };

  it("lists them", async () => {
    await submit(agent, { kind: "command", input: { argv: ["echo", "你好"] } });
    named("t2", "问候");
    const { code, stdout } = await cli(["ps"]);
    expect(code).toBe(0);
    expect(stdout.split("\n").map((line) => line.split(/ {2,}/)[0])).toEqual(["ID", "t2", "t1", ""]);
    expect(stdout).toMatch(/^t2 +queued +command +- +\d+d +- +问候$/m);
    expect(stdout).toMatch(/^t1 .* Say hello$/m);
  });

  it("takes pages until there are enough, and says that there is more", async () => {
    await submit(...Array.from({ length: 5 }, () => agent));
    const some = await cli(["ps", "--limit", "2", "--json"]);
    expect(JSON.parse(some.stdout)).toMatchObject({ tasks: [{ id: "t5" }, { id: "t4" }], next: 4 });
    expect((await cli(["ps", "--limit", "2"])).stderr).toContain("--all");
    expect((await cli(["ps", "--all"])).stdout.match(/^t\d/gm)).toHaveLength(5);
  });

  it("filters", async () => {
    await submit(agent);
    expect((await cli(["ps", "--state", "failed", "--state", "queued", "--node", "studio", "--label", "a=b"])).code).toBe(0);
    expect(api.coordinator.listFilters.at(-1)).toEqual({ states: ["failed", "queued"], node: "studio", label: ["a", "b"] });
    expect((await cli(["ps", "--state", "failed"])).stdout).toBe("no tasks\n");
  });

  it("draws again on a screen, and only there", async () => {
    await submit(agent);
    expect(await cli(["ps", "--watch"])).toMatchObject({ code: 2, stderr: expect.stringContaining("draws on a screen") });
    const { terminal, ended } = startCli(["ps", "--watch"], { env, columns: 80 });
    await terminal.until(({ stdout }) => stdout.includes("t1"));
    terminal.interrupt();
    expect(await ended).toBe(130);
    expect(terminal.stdout.startsWith("\u001b[H\u001b[J")).toBe(true);
  });

  it("shows one, with t or without", async () => {
    await submit({ ...agent, labels: { room: "office" } });
    named("t1", "greeting");
    api.coordinator.finish([T1], { result: { text: "Hello" } });
    const { stdout } = await cli(["show", "1"]);
    expect(stdout).toMatch(/^name +greeting$/m);
    expect(stdout).toMatch(/^asks +Say hello$/m);
    expect(stdout).toMatch(/^state +succeeded \(done\)$/m);
    expect(stdout).toMatch(/\nHello\n$/);
    expect(JSON.parse((await cli(["show", "t1", "--json"])).stdout)).toMatchObject({ id: "t1", attempts: [{ n: 1 }] });
    expect(await cli(["show", "t9"])).toMatchObject({ code: 1, stderr: expect.stringContaining("There is no task t9 (not_found)") });
  });

  it("says why", async () => {
    await submit(agent);
    expect((await cli(["why", "t1"])).stdout).toBe("It would run on studio.\n\nNODE      SCORE  WHY\nstudio ◂   1.00  room 1.00\n");
  });

  it("plans without making anything", async () => {
    const { code, stdout } = await cli(["plan", "exec", "--on", "studio", "--", "uname", "-a"]);
    expect({ code, first: stdout.split("\n")[0] }).toEqual({ code: 0, first: "It would run on studio." });
    expect(JSON.parse((await cli(["plan", "run", "hi", "--json"])).stdout)).toMatchObject({ plans: [{ node: "studio" }] });
    expect(api.coordinator.tasks.size).toBe(0);
  });

  it("prints output that is kept, and new attempts apart", async () => {
    await submit(agent);
    says(["assistant", "first"], ["assistant", "second", 2]);
    const { code, stdout, stderr } = await cli(["logs", "t1"]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: "firstsecond\n" });
    expect(stderr).toBe("— attempt 2 —\n");
    expect((await cli(["logs", "t1", "--attempt", "1"])).stdout).toBe("first\n");
    expect((await cli(["logs", "t1", "--json"])).stdout.trimEnd().split("\n")).toHaveLength(2);
  });
});

describe("acting on tasks", () => {
  it("cancels each by itself", async () => {
    await submit(agent, agent);
    expect(await cli(["cancel", "1"])).toMatchObject({ code: 0, stdout: "t1 cancelled\n" });
    expect(await cli(["cancel", "t1"])).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("state_conflict") });
    const { code, stdout } = await cli(["cancel", "1", "2", "--json"]);
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ ok: false, tasks: [{ id: "t2" }], refused: [{ task: "t1", code: "state_conflict" }] });
  });

  it("retries and answers", async () => {
    await submit(agent);
    expect(await cli(["retry", "t1"])).toMatchObject({ code: 0, stdout: "t1 queued\n" });
    expect(await cli(["answer", "t1", "fail"])).toMatchObject({ code: 0, stdout: "t1 failed\n" });
  });

  const orders = (): unknown[] => api.coordinator.orders;

  it("cancels all that a filter finds, call after call, and tells what was refused", async () => {
    await submit(agent, { ...agent, name: "stubborn" }, agent);
    const { code, stdout } = await cli(["cancel", "--state", "queued", "--label", "batch=x"]);
    expect({ code, stdout }).toEqual({
      code: 1,
      stdout: "cancelled: 2 tasks\nrefused: 1 task\n  t2 is stubborn. (state_conflict)\n",
    });
    const filter = { states: ["queued"], label: ["batch", "x"] };
    expect(orders()).toEqual([
      { filter, act: { kind: "cancel" }, dryRun: true },
      { filter, act: { kind: "cancel" }, dryRun: true, before: 2 },
      { filter, act: { kind: "cancel" } },
      { filter, act: { kind: "cancel" }, before: 2 },
    ]);
  });

  it("asks before it hits more than a few, and does nothing where nobody can answer", async () => {
    await submit(...Array.from({ length: 6 }, () => agent));
    const all = ["cancel", "--all"];
    expect(await cli(all)).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining("say --yes") });
    expect(await cli(all, { columns: 80, input: "n\n" })).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("nothing was changed"),
    });
    expect(await cli([...all, "--dry-run"])).toMatchObject({ code: 0, stdout: "would be cancelled: 6 tasks\n" });
    expect([...api.coordinator.tasks.values()].every(({ state }) => state === "queued")).toBe(true);
    const { stderr, stdout } = await cli(all, { columns: 80, input: "y\n" });
    expect(stderr).toContain("6 tasks would be cancelled. Go on? [y/N]");
    expect(stdout).toBe("cancelled: 6 tasks\n");
    await submit(...Array.from({ length: 6 }, () => agent));
    expect(await cli([...all, "--yes", "--json"])).toMatchObject({ code: 0, stdout: expect.stringContaining('"changed": 6') });
  });

  it("does nothing to all tasks by accident", async () => {
    await submit(agent);
    for (const argv of [["cancel"], ["retry"], ["answer"], ["answer", "fail"], ["cancel", "t1", "--all"], ["retry", "--alike", "x"]])
      expect((await cli(argv)).code).toBe(2);
    expect(orders()).toEqual([]);
  });

  it("shows dead letters in groups, and runs a group again", async () => {
    expect((await cli(["dead"])).stdout).toBe("no dead letters\n");
    await submit(agent, agent);
    api.coordinator.finish([T1, TaskId.parse("t2")], { state: "failed" });
    const { stdout, stderr } = await cli(["dead"]);
    expect(stdout).toMatch(/^TASKS +FAILED ALIKE.*\n +2 +agent_failed-00c0ffee .* t1 t2 +studio +format: no\n$/);
    expect(stderr).toContain("openclaw-cluster retry --dead --alike agent_failed-00c0ffee");
    const filter = { dead: true, alike: "agent_failed-00c0ffee" };
    expect(await cli(["retry", "--dead", "--alike", filter.alike])).toMatchObject({ code: 0, stdout: "run again: 2 tasks\n" });
    expect(orders().at(-1)).toEqual({ filter, act: { kind: "retry" } });
    expect((await cli(["ps", "--dead"])).code).toBe(0);
    expect(api.coordinator.listFilters.at(-1)).toEqual({ dead: true });
  });

  it("answers for all that a filter finds", async () => {
    await submit(agent);
    expect(await cli(["answer", "fail", "--label", "batch=x"])).toMatchObject({ code: 0, stdout: "given up: 1 task\n" });
    expect(orders().at(-1)).toEqual({ filter: { label: ["batch", "x"] }, act: { kind: "answer", decision: "fail" } });
  });

  it("needs a token that may", async () => {
    await submit(agent);
    const { code, stderr } = await cli(["cancel", "t1"], { env: { ...env, OPENCLAW_CLUSTER_TOKEN: api.tokens.viewer } });
    expect({ code, told: stderr.includes("(forbidden)") }).toEqual({ code: 1, told: true });
  });
});
