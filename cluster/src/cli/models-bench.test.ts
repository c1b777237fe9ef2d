import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LentModel } from "@openclaw-cluster/contract/models";
import { afterEach, describe, expect, it } from "vitest";
import { startApi, type TestApi } from "../../../tests/support/api-server.ts";
import { delta, DONE, event, fails, hangs, lender, ROLE, streamed, type Ask, type FakeLender } from "../../../tests/support/fake-lender.ts";
import { lentModel } from "../../../tests/support/fake-models.ts";
import { runCli, startCli, type CliOptions, type CliRun } from "../../../tests/support/terminal.ts";
import { ModelFault, type ModelQuestion } from "../models/models.ts";
import { Router } from "../models/routing/router.ts";
import { systemClock } from "../system/clock.ts";
import { silentLog } from "../system/log.ts";

let api: TestApi;
let home: string;
let env: Record<string, string>;
let nodes: Record<string, FakeLender>;
afterEach(async () => {
  for (const node of Object.values(nodes)) node.end();
  await api.close();
  await rm(home, { recursive: true });
});

const usage = (prompt: number, output: number): string =>
  event({ choices: [], usage: { prompt_tokens: prompt, completion_tokens: output } });
const good: Ask = () => streamed(ROLE, delta("a"), delta(" b"), delta(" c", "stop"), usage(480, 3), DONE);

/** A cluster of nodes that answer as said, each with the models that are its own. */
async function stage(models: readonly LentModel[], asks: Readonly<Record<string, Ask>> = {}): Promise<void> {
  home = await mkdtemp(join(tmpdir(), "cli-bench-"));
  const router = new Router({ aliases: () => ({}), clock: systemClock, log: silentLog });
  nodes = {};
  for (const [name, own] of Map.groupBy(models, ({ node }) => node)) {
    const node = (nodes[name] = lender(own, asks[name] ?? good));
    router.lends(name, node);
  }
  api = await startApi({ models: { router, attach: (_node, _way, socket) => void socket.destroy() } });
  api.coordinator.lent = models;
  env = { OPENCLAW_CLUSTER_HOME: home, OPENCLAW_CLUSTER_URL: api.url, OPENCLAW_CLUSTER_TOKEN: api.tokens.submitter };
}

const cli = (...argv: string[]): Promise<CliRun> => runCli(["models", "bench", ...argv], { env });
const start = (options: CliOptions, ...argv: string[]): ReturnType<typeof startCli> =>
  startCli(["models", "bench", ...argv], { env, ...options });
const cells = (stdout: string): string[][] =>
  stdout
    .trimEnd()
    .split("\n")
    .map((line) => line.trim().split(/ {2,}/));
const askedOf = (node: string): readonly ModelQuestion[] => nodes[node]?.asked ?? [];
const promptsOf = (node: string): string[] =>
  askedOf(node).map(({ body }) => (body["messages"] as { content: string }[])[0]?.content ?? "");

const EMBEDDER = { chat: false, tools: false, vision: false, json: false, embeddings: true };
const ALL: readonly LentModel[] = [
  lentModel("gpt-5", { node: "studio", endpoint: "cloud", server: "openai", paid: true }),
  lentModel("nomic", { node: "studio", can: EMBEDDER }),
  lentModel("qwen3:70b", { node: "studio", state: "cold" }),
  lentModel("qwen3:8b", { node: "studio" }),
  lentModel("qwen3:8b", { node: "vm" }),
];

describe("models bench", () => {
  it("measures each place that chats, is loaded and costs nothing, by questions that no cache has", async () => {
    await stage(ALL);
    const { code, stdout, stderr } = await cli();
    expect(code).toBe(0);
    const [head, ...rows] = cells(stdout);
    expect(head).toEqual(["MODEL", "NODE", "FIRST TOKEN", "READS/S", "WRITES/S", "FAILED"]);
    expect(rows.map(([model, node]) => [model, node])).toEqual([
      ["qwen3:8b", "studio"],
      ["qwen3:8b", "vm"],
    ]);
    for (const row of rows) {
      expect(row[2]).toMatch(/^[\d.]+m?s$/);
      expect(row.at(-1)).toBe("0/3");
    }
    expect(stderr).toMatch(/left out, because it is not loaded: qwen3:70b@studio; --cold/);
    const prompts = [...promptsOf("studio"), ...promptsOf("vm")];
    expect(prompts).toHaveLength(6);
    expect(new Set(prompts.map((prompt) => prompt.slice(0, 24))).size).toBe(6);
    expect(askedOf("vm").map(({ body, model }) => [model, body["stream"], body["max_tokens"]])).toEqual(
      Array.from({ length: 3 }, () => ["qwen3:8b", true, 64]),
    );
  });

  it("gives all of it as one document", async () => {
    await stage(ALL);
    const { code, stdout } = await cli("qwen3:8b@vm", "--rounds", "2", "--tokens", "8", "--prompt-tokens", "100", "--json");
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      ...{ ok: true, interrupted: false, tokens: 8, promptTokens: 100, rounds: 2, streams: 1, leftOut: [] },
      places: [
        expect.objectContaining({
          ...{ model: "qwen3:8b", node: "vm", server: "ollama", promptTokens: 480, tokens: 3, counted: "usage", asked: 2, faults: [] },
          firstTokenMs: expect.any(Number) as number,
        }),
      ],
    });
    expect(askedOf("studio")).toEqual([]);
    expect(promptsOf("vm").map((prompt) => prompt.split(/\s+/).length > 70)).toEqual([true, true]);
  });

  it("loads what is cold where that is wished, before it measures it", async () => {
    await stage(ALL);
    const { stdout } = await cli("--cold", "--node", "studio", "--rounds", "1");
    expect(cells(stdout)[0]).toContain("LOADED IN");
    expect(
      cells(stdout)
        .map((row) => row.slice(0, 2).join("@"))
        .slice(1),
    ).toEqual(["qwen3:70b@studio", "qwen3:8b@studio"]);
    expect(cells(stdout)[1]?.[2]).toMatch(/^[\d.]+m?s$/);
    expect(cells(stdout)[2]?.[2]).toBe("-");
    expect(askedOf("studio").map(({ model, body }) => [model, body["max_tokens"]])).toEqual([
      ["qwen3:70b", 1],
      ["qwen3:70b", 64],
      ["qwen3:8b", 64],
    ]);
    expect(askedOf("vm")).toEqual([]);
  });

  it("asks several questions together", async () => {
    const waiting: (() => void)[] = [];
    const all: Ask = async (question, signal) => {
      await new Promise<void>((resolve) => {
        waiting.push(resolve);
        // Fewer would wait for ever.
        if (waiting.length === 4) for (const go of waiting.splice(0)) go();
      });
      return good(question, signal);
    };
    await stage([lentModel("m", { node: "vm", slots: { total: 4, busy: 0 } })], { vm: all });
    const { code, stdout } = await cli("--streams", "4", "--rounds", "2");
    expect(code).toBe(0);
    expect(cells(stdout)[0]).toContain("TOGETHER/S");
    expect(cells(stdout)[1]?.at(-1)).toBe("0/8");
  });

  it("ends with 1 where a place does not answer, asks it no further round, and says why", async () => {
    await stage(ALL, { vm: fails(new ModelFault("unreachable", "its server is gone")) });
    const { code, stdout, stderr } = await cli();
    expect(code).toBe(1);
    expect(cells(stdout).map((row) => row.at(-1))).toEqual(["FAILED", "0/3", "1/1"]);
    expect(stderr).toMatch(/^qwen3:8b@vm: .*its server is gone \(node_lost\)$/m);
    expect(askedOf("vm")).toHaveLength(1);
    const { places, ok } = JSON.parse((await cli("--json", "qwen3:8b@vm")).stdout) as { places: unknown[]; ok: boolean };
    expect([ok, places]).toMatchObject([false, [{ node: "vm", asked: 1, faults: [{ code: "node_lost" }] }]]);
  });

  it("an answer that is cut, or says nothing, is none", async () => {
    await stage(ALL, { vm: () => streamed(ROLE, delta("a")), studio: () => streamed(ROLE, delta("", "stop"), DONE) });
    const { code, stderr } = await cli("--rounds", "1");
    expect(code).toBe(1);
    expect(stderr).toMatch(/^qwen3:8b@vm: .*\(node_lost\)$/m);
    expect(stderr).toMatch(/^qwen3:8b@studio: it said nothing \(empty\)$/m);
  });

  it("Ctrl-C shows what is known by then, and ends the question that is under way", async () => {
    const { ask, bodies } = hangs();
    await stage(ALL, { vm: ask });
    for (const argv of [[], ["--json"]]) {
      bodies.length = 0;
      const { terminal, ended } = start({}, ...argv);
      await expect.poll(() => bodies.length).toBe(1);
      terminal.interrupt();
      expect(await ended).toBe(130);
      await expect.poll(() => bodies[0]?.destroyed).toBe(true);
      if (argv.length === 0)
        expect(cells(terminal.stdout).map((row) => row.slice(0, 2).join("@"))).toEqual(["MODEL@NODE", "qwen3:8b@studio"]);
      else
        expect(JSON.parse(terminal.stdout)).toMatchObject({
          ...{ ok: false, interrupted: true },
          places: [{ model: "qwen3:8b", node: "studio", asked: 3 }],
        });
    }
  });

  it("says on a screen which place it is at, and prints a line as soon as it is known", async () => {
    const { ask, bodies } = hangs();
    await stage(ALL, { vm: ask });
    const { terminal, ended } = start({ columns: 100 });
    await expect.poll(() => bodies.length).toBe(1);
    expect(terminal.stderr).toContain("measuring qwen3:8b@studio (1 of 2): round 3 of 3");
    expect(terminal.stderr).toContain("measuring qwen3:8b@vm (2 of 2): round 1 of 3");
    expect(terminal.stdout).toMatch(/^MODEL .*\nqwen3:8b +studio .* 0\/3\n$/);
    terminal.interrupt();
    await ended;
  });

  it("what costs money is asked where it is named, and the cluster's own answer is told", async () => {
    await stage(ALL);
    const { code, stderr } = await cli("gpt-5");
    expect(code).toBe(1);
    expect(stderr).toMatch(/^gpt-5@studio: .*\(not_found\)$/m);
    expect(stderr).toMatch(/costs money: .*models\.aliases/);
    expect(askedOf("studio")).toEqual([]);
  });

  it("knows what it cannot measure", async () => {
    await stage(ALL);
    expect(await cli("nomic")).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining("cannot chat") as string });
    expect(await cli("qwen4")).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("not_found") as string });
    expect(await cli("--node", "attic")).toMatchObject({ code: 1, stderr: expect.stringContaining("not_found") as string });
    expect(await cli("--rounds", "0")).toMatchObject({ code: 2, stderr: expect.stringContaining("--rounds") as string });
    expect(await cli("qwen3:70b")).toMatchObject({ code: 0, stdout: "", stderr: expect.stringContaining("--cold") as string });
    expect(Object.values(nodes).flatMap(({ asked }) => asked)).toEqual([]);
    api.coordinator.lent = [];
    expect(await cli()).toMatchObject({ code: 0, stdout: expect.stringMatching(/^no model that chats is lent\n\nStart Ollama/) as string });
  });
});
