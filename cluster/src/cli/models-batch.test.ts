import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TaskId } from "@openclaw-cluster/contract/ids";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { afterEach, beforeEach, expect, it } from "vitest";
import { startApi, type TestApi } from "../../../tests/support/api-server.ts";
import { runCli, startCli } from "../../../tests/support/terminal.ts";

let api: TestApi;
let home: string;
let env: Record<string, string>;
beforeEach(async () => {
  api = await startApi();
  home = await mkdtemp(join(tmpdir(), "cli-batch-"));
  env = { OPENCLAW_CLUSTER_HOME: home, OPENCLAW_CLUSTER_URL: api.url, OPENCLAW_CLUSTER_TOKEN: api.tokens.admin };
});
afterEach(async () => {
  await api.close();
  await rm(home, { recursive: true });
});

const file = async (name: string, text: string): Promise<string> => {
  const path = join(home, name);
  await writeFile(path, text);
  return path;
};
const cli = (argv: readonly string[], input = ""): ReturnType<typeof runCli> => runCli(["models", "batch", ...argv], { env, input });
const submitted = (): readonly TaskSpec[] => api.coordinator.requests.flatMap(({ specs }) => specs);
const prompts = (): unknown[] => submitted().map((spec) => (spec.kind === "model" ? spec.input.prompt : undefined));

it("makes a task of each row, with all that was asked for", async () => {
  const rows = await file("rows.jsonl", '{"text":"one","n":1}\n\n{"text":"two","n":[2]}\n');
  const schema = await file("schema.json", '{"type":"object"}');
  const asked = ["--model", "qwen3:8b", "--system", "for {{n}}", "--schema", schema, "--max-tokens", "50", "--batch", "mine"];
  const { code, stdout, stderr } = await cli(["--prompt", "Translate: {{ text }}", "--input", rows, ...asked]);
  expect([code, stdout]).toEqual([0, "mine\n"]);
  expect(stderr).toMatch(/^batch mine: 2 tasks\n.*--wait.*ps --label batch=mine/);
  const input = { model: "qwen3:8b", schema: { type: "object" }, maxTokens: 50 };
  expect(submitted()).toEqual([
    {
      kind: "model",
      input: { ...input, prompt: "Translate: one", system: "for 1" },
      ...{ priority: "low", labels: { batch: "mine" }, dedupeKey: "batch/mine/1" },
    },
    {
      kind: "model",
      input: { ...input, prompt: "Translate: two", system: "for [2]" },
      ...{ priority: "low", labels: { batch: "mine" }, dedupeKey: "batch/mine/2" },
    },
  ]);
});

it("takes lines of text, from a pipe too, and makes the same name of the same batch (M1)", async () => {
  const first = await cli(["--prompt", "{{line}}?", "--input", "-"], "a {x}\r\n\n b\n");
  expect(prompts()).toEqual(["a {x}?", " b?"]);
  expect(first.stdout).toMatch(/^[0-9a-f]{12}\n$/);
  expect((await cli(["--prompt", "{{line}}?", "--input", "-"], "a {x}\n b\n")).stdout).toBe(first.stdout);
  expect((await cli(["--prompt", "{{line}}!", "--input", "-"], "a {x}\n b\n")).stdout).not.toBe(first.stdout);
});

it.each<[string, string, string, RegExp]>([
  ["a field that a later row does not have", "{{a}}", '{"a":1}\n{"b":2}', /\{\{a\}\} is not in -, line 2; that row has \{\{b\}\}/],
  ["a row that is no object, among objects", "{{a}}", '{"a":1}\n{"a":', /line 2 is no JSON object/],
  ["no rows", "{{line}}", "\n \n", /no rows/],
  ["a prompt that asks the same of all", "hello", "a\nb", /asks the same of every row/],
  ["a name that every object has", "{{toString}}", '{"a":1}', /\{\{toString\}\} is not in/],
])("a mistake is told before anything is submitted (B1): %s", async (_what, prompt, input, words) => {
  const { code, stderr } = await cli(["--prompt", prompt, "--input", "-"], input);
  expect(code).toBe(2);
  expect(stderr).toMatch(words);
  expect(submitted()).toEqual([]);
});

it("a schema that is none is one too", async () => {
  const schema = await file("schema.json", '{"type":"float"}');
  const { code, stderr } = await cli(["--prompt", "{{line}}", "--input", "-", "--schema", schema], "a");
  expect([code, submitted()]).toEqual([2, []]);
  expect(stderr).toMatch(/input\.schema\.type: is one or some of/);
});

it("writes the answers in the order of the rows, and says what failed and how to go on", async () => {
  const output = join(home, "out.jsonl");
  api.coordinator.beforeAnswer = () => {
    const { coordinator } = api;
    coordinator.finish(["t3" as TaskId], { result: { text: "C", model: "m", node: "studio" } });
    coordinator.finish(["t1" as TaskId], { result: { text: "A", model: "m", node: "studio" } });
    coordinator.finish(["t2" as TaskId], { state: "failed", error: { code: "answer_invalid", message: "no" } });
  };
  const { code, stdout, stderr } = await cli(["--prompt", "{{line}}", "--input", "-", "--batch", "b1", "--output", output], "a\nb\nc");
  expect([code, stdout]).toEqual([1, `${output}\n`]);
  const lines = (await readFile(output, "utf8")).trim().split("\n");
  expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([
    { row: 1, task: "t1", state: "succeeded", text: "A", model: "m", node: "studio" },
    { row: 2, task: "t2", state: "failed", error: { code: "answer_invalid", message: "no" } },
    { row: 3, task: "t3", state: "succeeded", text: "C", model: "m", node: "studio" },
  ]);
  expect(stderr).toMatch(/done 2, failed 1, left 0\n1 failed; once more: openclaw-cluster retry --label batch=b1 --dead/);
});

it("prints them where no file is named", async () => {
  api.coordinator.beforeAnswer = () => api.coordinator.finish(["t1" as TaskId], { result: { text: "A" } });
  const { code, stdout } = await cli(["--prompt", "{{line}}", "--input", "-", "--wait"], "a");
  expect([code, JSON.parse(stdout)]).toEqual([0, { row: 1, task: "t1", state: "succeeded", text: "A" }]);
});

it("Ctrl-C leaves the tasks running, and says how to come back (M2)", async () => {
  const { terminal, ended } = startCli(["models", "batch", "--prompt", "{{line}}", "--input", "-", "--batch", "b2", "--wait"], {
    env,
    input: "a\nb",
  });
  await terminal.until(() => terminal.interruptible);
  terminal.interrupt();
  expect(await ended).toBe(130);
  expect(terminal.stderr).toMatch(
    /left the batch running; the same command comes back to it; see it: openclaw-cluster ps --label batch=b2/,
  );
});
