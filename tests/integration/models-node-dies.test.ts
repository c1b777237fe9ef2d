/**
 * Daemons that die or freeze while a model answers: what whoever asked is told, and how soon. Real daemons, scripted servers that speak
 * slowly. What dies before the first word is in models.test.ts and models-openclaw.test.ts.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startCluster, until, type TestCluster, type TestDaemon } from "../support/daemon.ts";
import { startModelShape, type ModelShape } from "../support/model-shapes.ts";
import { nodeEndpoint, type NodeEndpoint } from "../support/node-endpoint.ts";

const FOUND_MS = 10_000;
const TEST_MS = 60_000;
/** A killed node's connections end at once; one that freezes is given up after PING_MS and PONG_MS of models/line.ts, 6 s. */
const FROZEN_MS = 12_000;
const WORDS = 60;

describe("a daemon that dies while a model answers", () => {
  let cluster: TestCluster;
  let near: ModelShape;
  let far: ModelShape;
  let studio: TestDaemon;
  let laptop: TestDaemon;
  let program: NodeEndpoint;

  beforeAll(async () => {
    const words = Array.from({ length: WORDS }, (_, at) => ` w${at}`);
    near = await startModelShape("llamacpp", { models: [{ id: "near" }], tokensPerSecond: 20, words, slots: 8 });
    far = await startModelShape("llamacpp", { models: [{ id: "far" }], tokensPerSecond: 20, words, slots: 8 });
    cluster = await startCluster();
    studio = await cluster.addWorker("studio", { models: { endpoints: [{ name: "far", url: far.url }] } });
    laptop = await cluster.addWorker("laptop", { models: { endpoints: [{ name: "near", url: near.url }] } });
    program = await nodeEndpoint(laptop);
  }, TEST_MS);
  afterAll(async () => {
    await cluster?.end();
    await near?.stop();
    await far?.stop();
  }, TEST_MS);

  const listed = (names: string): Promise<true> =>
    until(`${names} at the laptop`, async () => [...(await program.listed())].sort().join() === names || undefined, FOUND_MS);
  /** Resolves when its first word is here. */
  const begin = async (model: string): Promise<{ node: string | null; rest: Promise<{ text: string; ms: number }> }> => {
    const messages = [{ role: "user", content: "hello" }];
    const answer = await program.open("/v1/chat/completions", { model, messages, stream: true });
    expect(answer.status).toBe(200);
    const begunAt = performance.now();
    const rest = answer.text().then((text) => ({ text, ms: performance.now() - begunAt }));
    return { node: answer.headers.get("x-cluster-node"), rest };
  };
  const lastOf = (text: string): unknown => JSON.parse((text.trim().split("\n\n").at(-1) ?? "").replace("data: ", ""));
  const LOST = { error: { code: "node_lost", type: "server_error" } };

  test("the node that answers is killed: a typed error", { timeout: TEST_MS }, async () => {
    await listed("auto,far,near");
    const { node, rest } = await begin("far");
    expect(node).toBe("studio");
    const killedAt = performance.now();
    await studio.kill();
    const { text } = await rest;
    process.stdout.write(`models: a killed node is told of after ${Math.round(performance.now() - killedAt)} ms\n`);
    expect(lastOf(text)).toMatchObject(LOST);
    await listed("auto,near");
    await studio.start();
  });

  test("the node that answers freezes: a typed error, once it is missed", { timeout: TEST_MS }, async () => {
    await listed("auto,far,near");
    const { rest } = await begin("far");
    process.kill(studio.pid, "SIGSTOP");
    try {
      const stoppedAt = performance.now();
      const { text } = await rest;
      const tookMs = performance.now() - stoppedAt;
      process.stdout.write(`models: a frozen node is told of after ${Math.round(tookMs)} ms\n`);
      expect(tookMs).toBeLessThan(FROZEN_MS);
      expect(lastOf(text)).toMatchObject(LOST);
      await listed("auto,near");
    } finally {
      process.kill(studio.pid, "SIGCONT");
    }
  });

  test(
    "whoever leads is killed: what this machine answers by itself goes on, what it passes on is a typed error",
    async () => {
      await listed("auto,far,near");
      const [own, other] = [await begin("near"), await begin("far")];
      expect([own.node, other.node]).toEqual(["laptop", "studio"]);
      await cluster.lead.kill();
      expect(lastOf((await other.rest).text)).toMatchObject(LOST);
      const { text } = await own.rest;
      expect(text).toContain(` w${WORDS - 1}"`);
      expect(text.trim().endsWith("[DONE]")).toBe(true);
      // And while nobody leads the machine's own models are still there.
      expect((await program.ask("/v1/chat/completions", { model: "near", messages: [{ role: "user", content: "hello" }] })).status).toBe(
        200,
      );
      await cluster.lead.start();
      await listed("auto,far,near");
      expect((await (await begin("far")).rest).text.trim().endsWith("[DONE]")).toBe(true);
    },
    TEST_MS,
  );
});
