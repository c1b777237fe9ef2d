/** `models bench` against real daemons, with scripted model servers behind two of them whose speed is known. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { PlaceFigures } from "../../cluster/src/core/models/bench-figures.ts";
import { startCluster, until, type CliEnd, type TestCluster } from "../support/daemon.ts";
import { startModelShape, type ModelShape } from "../support/model-shapes.ts";

const FOUND_MS = 10_000;
const TEST_MS = 60_000;
/** An answer takes 1.5 s, of which what a busy machine hands over late is a small part. */
const TOKENS = 60;
const SLOW_PER_S = 40;
const FIRST_TOKEN_MS = 200;
/** Where pieces that came late are handed over together, the time between them looks shorter than it was. */
const AT_MOST = 1.2;
/** Of a machine that is ten times too busy. */
const AT_LEAST = 0.1;

interface Document {
  readonly ok: boolean;
  readonly places: readonly (PlaceFigures & { readonly model: string; readonly node: string })[];
  readonly leftOut: readonly object[];
}

let cluster: TestCluster;
let slow: ModelShape;
let quick: ModelShape;
beforeAll(async () => {
  const words = Array.from({ length: TOKENS }, (_, at) => ` word-${at}`);
  slow = await startModelShape("ollama", {
    models: [{ id: "llama3:8b" }],
    words,
    tokensPerSecond: SLOW_PER_S,
    firstTokenMs: FIRST_TOKEN_MS,
  });
  quick = await startModelShape("lmstudio", { models: [{ id: "qwen3" }, { id: "phi4", state: "cold" }], words, tokensPerSecond: 1_000 });
  cluster = await startCluster();
  const endpoints = (name: string, { url }: ModelShape): object => ({ endpoints: [{ name, url }] });
  await cluster.addWorker("gaming", { models: endpoints("ollama", slow) });
  await cluster.addWorker("studio", { models: endpoints("lmstudio", quick) });
  await until("all models", async () => ((await cluster.client.models()).models.length === 3 ? true : undefined), FOUND_MS);
}, TEST_MS);
afterAll(async () => {
  await cluster?.end();
  await slow?.stop();
  await quick?.stop();
}, TEST_MS);

const bench = (...argv: string[]): Promise<CliEnd> => cluster.cli("models", "bench", ...argv);

test("measures about the speed that a model's server has, on whichever node it is", { timeout: TEST_MS }, async () => {
  const { code, json, stderr } = await bench("--tokens", String(TOKENS), "--json");
  expect(code, stderr).toBe(0);
  const { ok, places, leftOut } = json as Document;
  expect([ok, leftOut]).toEqual([true, [{ model: "phi4", node: "studio", state: "cold" }]]);
  expect(places.map(({ model, node, asked, counted, tokens }) => [model, node, asked, counted, tokens])).toEqual([
    ["llama3:8b", "gaming", 3, "usage", TOKENS],
    ["qwen3", "studio", 3, "usage", TOKENS],
  ]);
  const [first, second] = places;
  expect(first?.tokensPerS).toBeLessThanOrEqual(SLOW_PER_S * AT_MOST);
  expect(first?.tokensPerS).toBeGreaterThan(SLOW_PER_S * AT_LEAST);
  expect(first?.firstTokenMs).toBeGreaterThan(FIRST_TOKEN_MS * 0.9);
  // What its server says that it has read, by that time.
  expect(first?.promptTokens).toBe(100);
  expect(first?.promptTokensPerS).toBeLessThanOrEqual((100 * 1_000) / (FIRST_TOKEN_MS * 0.9));
  expect(second?.tokensPerS).toBeGreaterThan(0);
  // As any program asks it, each time something that no cache has.
  const prompts = slow.questions.map(({ body }) => JSON.stringify(body?.["messages"]));
  expect(new Set(prompts).size).toBe(3);
});

test("asks together, loads what is cold where that is wished, and ends with 1 where a server fails", { timeout: TEST_MS }, async () => {
  const before = quick.questions.length;
  const { code, stdout, stderr } = await bench("--cold", "--node", "studio", "--streams", "3", "--rounds", "1", "--tokens", String(TOKENS));
  expect(code, stderr).toBe(0);
  expect(stdout).toMatch(/^MODEL +NODE +LOADED IN +FIRST TOKEN +READS\/S +WRITES\/S +TOGETHER\/S +FAILED\nphi4 .* 0\/3\nqwen3 .* 0\/3\n$/);
  expect(quick.questions.length - before).toBe(7);
  quick.settings.mode = "dieMidStream";
  const failed = await bench("qwen3@studio");
  expect([failed.code, failed.stdout]).toEqual([1, expect.stringMatching(/1\/1\n$/)]);
  expect(failed.stderr).toMatch(/^qwen3@studio: .*\(node_lost\)$/m);
});
