/** Tasks of kind model: batches through the queue, on real daemons with scripted model servers behind two of them. */
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import type { ModelInput } from "@openclaw-cluster/contract/model-input";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startCluster, until, untilOver, type TestCluster, type TestDaemon } from "../support/daemon.ts";
import { startModelShape, type ModelShape } from "../support/model-shapes.ts";

const FOUND_MS = 10_000;
const TEST_MS = 120_000;
const BATCH = 200;
const SCHEMA = { type: "object", properties: { n: { type: "integer" } }, required: ["n"] };

const ask = (input: Partial<ModelInput>, more: Partial<TaskSpec> = {}): TaskSpec =>
  ({ kind: "model", input: { prompt: "hello", ...input }, ...more }) as TaskSpec;

describe("tasks of kind model", () => {
  let cluster: TestCluster;
  let ollama: ModelShape;
  let studio: ModelShape;
  const workers: Record<string, TestDaemon> = {};

  const lent = async (node: string): Promise<string[] | undefined> => {
    const { nodes } = await cluster.client.nodes({});
    return nodes.find(({ id }) => id === node)?.facts?.lends?.map(({ id }) => id);
  };
  const whyOf = async (spec: TaskSpec): Promise<{ sentence: string; state: string }> => {
    const { id } = await cluster.client.submit(spec);
    const { sentence } = await cluster.client.why({ id });
    const { state } = await cluster.client.getTask({ id });
    await cluster.client.cancel({ id });
    return { sentence, state };
  };

  beforeAll(async () => {
    ollama = await startModelShape("ollama", { models: [{ id: "llama3:8b" }, { id: "twin" }] });
    studio = await startModelShape("lmstudio", { models: [{ id: "qwen3" }, { id: "twin" }] });
    cluster = await startCluster();
    const servers = (name: string, { url }: ModelShape): object => ({ endpoints: [{ name, url }] });
    workers["gaming"] = await cluster.addWorker("gaming", { models: servers("ollama", ollama), slots: 4 });
    workers["studio"] = await cluster.addWorker("studio", {
      ...{ models: servers("lmstudio", studio), slots: 4 },
      policy: { allow: { models: ["*"] }, deny: { models: ["secret"] } },
    });
    workers["laptop"] = await cluster.addWorker("laptop", { models: { enabled: "off" } });
    await until("the lent models", async () => ((await lent("gaming"))?.length === 2 && (await lent("studio"))?.length === 2) || undefined);
  }, TEST_MS);
  afterAll(async () => {
    await cluster?.end();
    await ollama?.stop();
    await studio?.stop();
  }, TEST_MS);

  test("a node tells what it lends within seconds of its being there, and no kind that an older coordinator would refuse", async () => {
    studio.add({ id: "phi4" });
    studio.add({ id: "secret" });
    await until("the new one", async () => (await lent("studio"))?.includes("phi4") || undefined, FOUND_MS);
    expect(await lent("studio")).not.toContain("secret");
    studio.remove("phi4");
    await until("it is gone", async () => !(await lent("studio"))?.includes("phi4") || undefined, FOUND_MS);
    const { nodes } = await cluster.client.nodes({});
    for (const { id, facts } of nodes) {
      expect(facts?.kinds).not.toContain("model");
      expect(facts?.lends === undefined).toBe(id === "laptop");
    }
  });

  test("one is answered by the node that has it", async () => {
    const { id } = await cluster.client.submit(ask({ model: "qwen3" }));
    expect(await untilOver(cluster, id)).toMatchObject({
      state: "succeeded",
      node: "studio",
      result: { text: "alpha bravo charlie delta", model: "qwen3", node: "studio", finish: "stop", usage: { completionTokens: 4 } },
    });
  });

  test("a misspelt model waits, and why names the near one", async () => {
    const { sentence, state } = await whyOf(ask({ model: "qwen4" }));
    expect(state).toBe("queued");
    expect(sentence).toContain("studio lends no model qwen4, but qwen3");
    expect(sentence).toMatch(/laptop lends no models/);
    expect(sentence).toContain("takes names, not aliases");
  });

  test("an answer that does not hold to its schema is asked for again", async () => {
    const answers = [["no"], ['{"n"', ': "x"}']];
    const asked = studio.questions.length;
    const { words } = studio.settings;
    Object.defineProperty(studio.settings, "words", { configurable: true, get: () => answers.shift() ?? ['{"n":', " 7}"] });
    const { id } = await cluster.client.submit(ask({ model: "qwen3", schema: SCHEMA }, { retry: { max: 5, backoffMs: 0 } }));
    const task = await untilOver(cluster, id);
    Object.defineProperty(studio.settings, "words", { configurable: true, writable: true, value: words });
    expect(task).toMatchObject({ state: "succeeded", attempt: 3, result: { value: { n: 7 } } });
    const { attempts } = await cluster.client.attempts({ id });
    expect(attempts.map(({ error }) => error?.code)).toEqual(["answer_invalid", "answer_invalid", undefined]);
    expect(studio.questions.slice(asked)[0]?.body).toMatchObject({
      response_format: { type: "json_schema", json_schema: { schema: SCHEMA, strict: true } },
    });
  });

  test("a request of a person's is answered before a batch that was there first", { timeout: TEST_MS }, async () => {
    Object.assign(studio.settings, { firstTokenMs: 50 });
    const batch = await cluster.client.submitMany(Array.from({ length: 100 }, (_, n) => ask({ model: "qwen3", prompt: `row ${n}` })));
    await until("the batch is at work", async () => studio.questions.length > 10 || undefined);
    const answer = await fetch(`${cluster.url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${cluster.token}`, "content-type": "application/json" },
      body: JSON.stringify({ model: "qwen3", messages: [{ role: "user", content: "I am a person" }] }),
    });
    expect(answer.status).toBe(200);
    const states = await Promise.all(batch.map(({ id }) => cluster.client.getTask({ id })));
    expect(states.filter(({ state }) => state === "succeeded").length).toBeLessThan(100);
    for (const { id } of batch) expect((await untilOver(cluster, id, TEST_MS)).state).toBe("succeeded");
    Object.assign(studio.settings, { firstTokenMs: 0 });
  });

  test("a batch goes on when one of two servers dies in its middle, and none of it is lost", { timeout: TEST_MS }, async () => {
    const rows = path.join(cluster.folder, "rows.jsonl");
    const output = path.join(cluster.folder, "answers.jsonl");
    await writeFile(rows, Array.from({ length: BATCH }, (_, n) => `${JSON.stringify({ text: `word ${n}` })}\n`).join(""));
    for (const shape of [ollama, studio]) Object.assign(shape.settings, { firstTokenMs: 20 });
    const before = studio.questions.length;
    const batch = ["models", "batch", "--prompt", "Translate: {{text}}", "--input", rows, "--model", "twin", "--batch", "night"];
    const running = cluster.cli(...batch, "--output", output);
    await until("it is at work", () => studio.questions.length > before + 20 || undefined);
    await studio.stop();
    const { code, stderr } = await running;
    expect(code, stderr).toBe(0);
    const answers = (await readFile(output, "utf8"))
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { row: number; state: string; node: string });
    expect(answers.map(({ row }) => row)).toEqual(Array.from({ length: BATCH }, (_, n) => n + 1));
    expect(new Set(answers.map(({ state }) => state))).toEqual(new Set(["succeeded"]));
    expect(new Set(answers.map(({ node }) => node))).toEqual(new Set(["gaming", "studio"]));
    await studio.start();
    const again = await cluster.cli(...batch, "--wait");
    expect(again.stderr).toContain(`${BATCH} of them from before`);
  });

  test("a policy that leaves out whoever asks is obeyed", { timeout: TEST_MS }, async () => {
    const ask1 = ask({ model: "llama3:8b" });
    await writeFile(
      path.join((workers["gaming"] as TestDaemon).home, "policy.yaml"),
      JSON.stringify({ version: 1, allow: { models: ["*"] }, users: { allow: ["nobody"] } }),
    );
    await until("its facts", async () => {
      const { nodes } = await cluster.client.nodes({});
      return nodes.find(({ id }) => id === "gaming")?.facts?.policy.users ?? undefined;
    });
    const asked = ollama.questions.length;
    const { sentence, state } = await whyOf(ask1);
    expect([state, ollama.questions.length]).toEqual(["queued", asked]);
    expect(sentence).toMatch(/gaming does not allow the user/);
  });
});
