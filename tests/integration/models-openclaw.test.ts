/**
 * A real OpenClaw that thinks with models of other machines: its Gateway on one node, a real llama-server on a second, a scripted server
 * on a third. It is connected by `models connect`, as people would.
 *
 * The llama-server's model reads a token for each character, so OpenClaw's prompt is cut down to 12 KB: that is read in some seconds,
 * which is also the time in which its server can die before its first word.
 */
import { readFile } from "node:fs/promises";
import path from "node:path";
import type { Task } from "@openclaw-cluster/contract/task";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runCommand } from "../../scripts/daemon.ts";
import { startCluster, until, untilOver, type TestCluster, type TestDaemon } from "../support/daemon.ts";
import { startGateway, type RunningGateway } from "../support/gateway.ts";
import { CHAIN, chainText } from "../support/gguf-model.ts";
import { whyNoLlama } from "../support/llama-program.ts";
import { startLlamaServer, type LlamaOptions, type LlamaServer } from "../support/llama-server.ts";
import { startModelShape, type ModelShape } from "../support/model-shapes.ts";

const START_MS = 200_000;
/** A Gateway's first turn takes half a minute on two busy cores, before the model hears of it. */
const TURN_MS = 180_000;
const FOUND_MS = 10_000;
/** One layer and two heads: a tenth of the time for a long prompt. */
const MODEL = { ...CHAIN, name: "chain", layers: 1, width: 32, heads: 2, kvHeads: 2, feedForward: 32, contextTokens: 32_768 };
const LLAMA: LlamaOptions = { model: MODEL, contextTokens: 32_768, slots: 1 };
const LLAMA_SAYS = chainText(MODEL).trim();
/** Longer than what `settings` below leaves of OpenClaw's prompt takes by the router's estimate, and larger than the other models. */
const TOO_SMALL = { id: "huge-but-short", contextTokens: 2_048, sizeBytes: 80_000_000_000 };
/** So small that `auto` prefers llama-server's; LARGE so large that it does not. */
const SPARE = { id: "spare", contextTokens: 32_768, sizeBytes: 1_000 };
const LARGE = { ...SPARE, sizeBytes: 4_000_000_000 };
const SPARE_SAYS = ["the", " spare", " one", " says", " this"];
const SETTINGS = { tools: { profile: "minimal", toolSearch: false }, skills: { allowBundled: [], limits: { maxSkillsInPrompt: 0 } } };

const whyNot = await whyNoLlama();

describe.skipIf(whyNot !== undefined)(`OpenClaw with models of other nodes${whyNot === undefined ? "" : ` (skipped: ${whyNot})`}`, () => {
  let cluster: TestCluster;
  let gateway: RunningGateway;
  let llama: LlamaServer;
  let spare: ModelShape;
  let studio: TestDaemon;
  let gaming: TestDaemon;
  let attic: TestDaemon;
  let unconnected: string;

  beforeAll(async () => {
    [cluster, llama, spare] = await Promise.all([
      startCluster(),
      startLlamaServer(LLAMA),
      startModelShape("llamacpp", { models: [SPARE], isRouter: true, words: SPARE_SAYS }),
    ]);
    // Its own model is never asked.
    const options = {
      folder: path.join(cluster.folder, "openclaw"),
      modelUrl: "http://127.0.0.1:9/v1",
      name: "studio",
      settings: SETTINGS,
    };
    gateway = await startGateway(options);
    studio = await cluster.addWorker("studio", { openclaw: gateway, policy: { allow: { agents: ["*"], models: ["*"] } } });
    gaming = await cluster.addWorker("gaming", { models: { endpoints: [{ name: "llama", url: llama.url }] } });
    attic = await cluster.addWorker("attic", { models: { endpoints: [{ name: "spare", url: spare.url }] } });
    await until(
      "its Gateway",
      async () => (await cluster.client.node({ id: "studio" as never })).facts?.openclaw?.reachable || undefined,
      TURN_MS,
    );
  }, START_MS);
  afterAll(async () => {
    await gateway?.stop();
    await cluster?.end();
    await llama?.stop();
    await spare?.stop();
  }, START_MS);

  const openclaw = (): string => path.join(gateway.state, "openclaw.json");
  const models = async (...argv: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> =>
    runCommand(["models", ...argv, "--home", studio.home], { env: { OPENCLAW_CONFIG_PATH: openclaw() } }).ended();
  const lent = async (): Promise<string> => {
    const { models: all } = await cluster.client.models();
    return all
      .map(({ id, sizeBytes }) => (id === MODEL.name ? id : `${id} ${sizeBytes}`))
      .sort()
      .join();
  };
  /** These and no others, each as it is now. */
  const listed = ({ id, sizeBytes }: typeof SPARE): Promise<true> =>
    until(`${id} beside llama-server's`, async () => (await lent()) === `${MODEL.name},${id} ${sizeBytes}` || undefined, FOUND_MS);
  const turn = (message: string): TaskSpec =>
    ({ kind: "agent", input: { message, model: "cluster/auto" }, require: { nodes: ["studio"] } }) as TaskSpec;
  const run = async (message: string): Promise<Task> => untilOver(cluster, (await cluster.client.submit(turn(message))).id, TURN_MS);
  const isAtWork = async (): Promise<boolean> => {
    const slots = (await (await fetch(`${llama.url}/slots`)).json()) as { is_processing: boolean }[];
    return slots.some(({ is_processing: busy }) => busy);
  };
  const tokensRead = async (): Promise<number> => {
    const text = await (await fetch(`${llama.url}/metrics`)).text();
    return Number(/^llamacpp:prompt_tokens_total (\d+)/m.exec(text)?.[1]);
  };
  const again = async (): Promise<void> => {
    await llama.stop();
    llama = await startLlamaServer({ ...LLAMA, port: llama.port });
  };
  const heardOfIt = async (): Promise<boolean> => /node_lost|, which was answering for /.test(await readFile(gateway.logFile, "utf8"));
  const textOf = ({ result }: Task): string => String((result as { text?: unknown } | undefined)?.text).trim();

  test("is connected by a command, while it runs", { timeout: TURN_MS }, async () => {
    await listed(SPARE);
    unconnected = await readFile(openclaw(), "utf8");
    const shown = await models("connect", "--dry-run", "--json");
    expect([shown.code, await readFile(openclaw(), "utf8")], shown.stderr).toEqual([0, unconnected]);
    const done = await models("connect", "--yes", "--context", "32768");
    expect(done.code, done.stderr).toBe(0);
    const key = (await readFile(path.join(studio.home, "models.key"), "utf8")).trim();
    for (const { stdout, stderr } of [shown, done]) expect(stdout + stderr).not.toContain(key);
    const { providers } = (JSON.parse(await readFile(openclaw(), "utf8")) as { models: { providers: Record<string, object> } }).models;
    expect(Object.keys(providers)).toEqual(["scripted", "cluster"]);
    expect(providers["cluster"]).toMatchObject({ apiKey: key, models: [{ id: "auto", contextWindow: 32_768 }] });
  });

  test("answers with a model of another machine; one that its prompt does not fit is passed over", { timeout: TURN_MS }, async () => {
    spare.add(TOO_SMALL);
    spare.remove("spare");
    await listed(TOO_SMALL);
    const task = await run("who are you?");
    expect(task, JSON.stringify(task)).toMatchObject({ state: "succeeded", node: "studio" });
    expect(textOf(task)).toBe(LLAMA_SAYS);
    expect(task.result).toMatchObject({ provider: "cluster", model: "auto", toolCalls: 1 });
    // The whole prompt, a token for each character, and only there.
    expect(await tokensRead()).toBeGreaterThan(5_000);
    expect(spare.questions).toEqual([]);
    spare.remove(TOO_SMALL.id);
    spare.add(SPARE);
  });

  test("a node that is killed before its first word is replaced, and nobody hears of it", { timeout: TURN_MS }, async () => {
    // Forgets the prompt, so that it is read in seconds again.
    await again();
    await listed(SPARE);
    const { id } = await cluster.client.submit(turn("and now?"));
    await until("llama-server reads the prompt", async () => (await isAtWork()) || undefined);
    await gaming.kill();
    const task = await untilOver(cluster, id, TURN_MS);
    expect(task, JSON.stringify(task)).toMatchObject({ state: "succeeded", attempt: 1 });
    expect(textOf(task)).toBe(SPARE_SAYS.join(""));
    // It was not OpenClaw that asked again.
    expect(await heardOfIt(), "the Gateway's log").toBe(false);
    await gaming.start();
  });

  test("one that is killed in the middle of an answer: OpenClaw asks again, and another one answers", { timeout: TURN_MS }, async () => {
    await again();
    // The spare one is the larger now, and speaks long; slower than 6 tokens a second, and `auto` would pass it over.
    spare.remove("spare");
    spare.add(LARGE);
    Object.assign(spare.settings, { tokensPerSecond: 20, words: Array.from({ length: 400 }, (_, at) => ` spoken${at}`) });
    await listed(LARGE);
    const asked = spare.questions.length;
    const { id } = await cluster.client.submit(turn("tell me a long story"));
    // The first request ends with a call of a tool.
    await until("it has begun to answer", () => (spare.questions.at(asked + 1)?.bytes ?? 0) > 1_000 || undefined);
    const killedAt = performance.now();
    await attic.kill();
    await until("the Gateway hears of it", async () => (await heardOfIt()) || undefined);
    process.stdout.write(
      `models: a node that is killed while it answers is told of after ${Math.round(performance.now() - killedAt)} ms\n`,
    );
    const task = await untilOver(cluster, id, TURN_MS);
    expect(task, JSON.stringify(task)).toMatchObject({ state: "succeeded", attempt: 1 });
    expect(await heardOfIt(), "the Gateway's log").toBe(true);
    // Nothing of what the first one had said.
    expect(textOf(task)).toBe(LLAMA_SAYS);
  });

  test("is disconnected, and its settings are as they were", { timeout: TURN_MS }, async () => {
    const { stdout, stderr, code } = await models("disconnect", "--yes", "--json");
    expect(code, stderr).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ ok: true, changed: true, file: openclaw() });
    expect(await readFile(openclaw(), "utf8")).toBe(unconnected);
  });
});
