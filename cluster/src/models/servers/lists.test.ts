import { describe, expect, it } from "vitest";
import type { NodeModelOffer } from "@openclaw-cluster/contract/models";
import { startModelShape, type ModelShape, type ShapeOptions } from "../../../../tests/support/model-shapes.ts";
import type { Shape } from "../../../../tests/support/model-shape-stage.ts";
import { systemClock } from "../../system/clock.ts";
import { llamaCppLister } from "./llama-cpp.ts";
import { lmStudioLister } from "./lm-studio.ts";
import { ModelServer } from "./model-server.ts";
import { ollamaLister } from "./ollama.ts";
import { openAiLister } from "./openai.ts";
import { looksLikeEmbedder, quantizationIn, type Lister } from "./reading.ts";
import { vllmLister } from "./vllm.ts";

interface Ground extends AsyncDisposable {
  readonly shape: ModelShape;
  readonly list: Lister;
  /** The one that bears this id. */
  one(id: string): Promise<NodeModelOffer | undefined>;
  asked(path: string): number;
}

async function ground(kind: Shape, lister: (server: ModelServer, endpoint: string) => Lister, options: ShapeOptions): Promise<Ground> {
  const shape = await startModelShape(kind, options);
  const server = new ModelServer({ url: shape.url, clock: systemClock });
  const list = lister(server, "here");
  return {
    ...{ shape, list },
    one: async (id) => (await list()).find((offer) => offer.id === id),
    asked: (path) => shape.requests.filter((request) => request.path === path).length,
    async [Symbol.asyncDispose]() {
      server.close();
      await shape.stop();
    },
  };
}

describe("ollama", () => {
  const options: ShapeOptions = {
    models: [
      { id: "qwen3:8b", digest: "a".repeat(64), contextTokens: 16_384 },
      { id: "llava:7b", state: "cold", vision: true, tools: false, numCtx: 2_048 },
      { id: "nomic-embed-text:latest", state: "cold", embeddings: true },
      { id: "gpt-oss:120b-cloud", remoteHost: "https://ollama.com" },
      { id: "kimi:cloud" },
    ],
  };

  it("tells what is loaded, how, and what the others would be; O1: nothing of a cloud", async () => {
    await using at = await ground("ollama", ollamaLister, options);
    const chat = { chat: true, tools: true, vision: false, json: true, embeddings: false };
    expect(await at.list()).toEqual([
      {
        ...{ id: "qwen3:8b", endpoint: "here", server: "ollama", digest: `sha256:${"a".repeat(64)}`, sizeBytes: 4_000_000_000 },
        ...{ quantization: "Q4_K_M", contextTokens: 16_384, can: chat, state: "loaded" },
      },
      expect.objectContaining({ id: "llava:7b", state: "cold", contextTokens: 2_048, can: { ...chat, tools: false, vision: true } }),
      expect.objectContaining({
        id: "nomic-embed-text:latest",
        can: { chat: false, tools: false, vision: false, json: false, embeddings: true },
      }),
    ]);
  });

  it("O2: asks about each once, until it changes", async () => {
    await using at = await ground("ollama", ollamaLister, options);
    await at.list();
    await at.list();
    expect(at.asked("/api/show")).toBe(3);
    at.shape.add({ id: "new:1b" });
    await at.list();
    expect(at.asked("/api/show")).toBe(4);
    at.shape.remove("new:1b");
    at.shape.add({ id: "new:1b", digest: "b".repeat(64) });
    await at.list();
    expect(at.asked("/api/show")).toBe(5);
  });

  it("O3: remembers with what context it was loaded", async () => {
    await using at = await ground("ollama", ollamaLister, options);
    await at.list();
    at.shape.unload("qwen3:8b");
    expect(await at.one("qwen3:8b")).toMatchObject({ state: "cold", contextTokens: 16_384 });
    expect(await at.one("nomic-embed-text:latest")).not.toHaveProperty("contextTokens");
  });
});

describe("lm studio", () => {
  const models = [
    { id: "qwen/qwen3-8b", contextTokens: 32_768 },
    { id: "gemma-3-4b", state: "cold", vision: true, tools: false },
    { id: "text-embedding-nomic", state: "cold", embeddings: true },
  ] as const;

  it.each([false, true])("tells its models (older: %s)", async (isOld) => {
    await using at = await ground("lmstudio", lmStudioLister, { models, isOld, slots: 2 });
    const [loaded, cold, embedder] = await at.list();
    expect(loaded).toMatchObject({
      id: "qwen/qwen3-8b",
      state: "loaded",
      contextTokens: 32_768,
      quantization: "Q4_K_M",
      can: { chat: true, tools: true },
    });
    expect(loaded?.slots).toEqual(isOld ? undefined : { total: 2, busy: 0 });
    expect(loaded?.digest).toMatch(/^facts:/);
    expect(cold).toMatchObject({ state: "cold", can: { vision: true, tools: false } });
    expect(cold).not.toHaveProperty("contextTokens");
    expect(embedder?.can).toMatchObject({ chat: false, embeddings: true });
    at.shape.unload("qwen/qwen3-8b");
    expect(await at.one("qwen/qwen3-8b")).toMatchObject({ state: "cold", contextTokens: 32_768 });
    await at.list();
    expect(at.asked("/api/v1/models")).toBe(isOld ? 1 : 3);
  });

  it("S1: offers cold ones only where a request would load them", async () => {
    await using at = await ground("lmstudio", lmStudioLister, { models, loadsOnDemand: false });
    expect((await at.list()).map(({ id }) => id)).toEqual(["qwen/qwen3-8b"]);
  });
});

describe("llama.cpp", () => {
  const models = [{ id: "chain", contextTokens: 2_048, sizeBytes: 600_000, quantization: "Q8_0" }];

  it("tells its model, per slot, and how many requests it works at", async () => {
    await using at = await ground("llamacpp", llamaCppLister, { models, busy: 3 });
    expect(await at.list()).toEqual([
      {
        ...{
          id: "chain",
          endpoint: "here",
          server: "llamacpp",
          sizeBytes: 600_000,
          quantization: "Q8_0",
          contextTokens: 2_048,
          state: "loaded",
        },
        digest: expect.stringMatching(/^facts:[0-9a-f]{64}$/),
        can: { chat: true, tools: true, vision: false, json: true, embeddings: false },
        slots: { total: 4, busy: 3 },
      },
    ]);
    expect(at.asked("/slots")).toBe(0);
  });

  it("C4: is the same model in another folder and under another name, and no other of its size is", async () => {
    const digestOf = async (id: string, file?: string): Promise<string | undefined> => {
      await using at = await ground("llamacpp", llamaCppLister, { models: [{ ...models[0], id, ...(file !== undefined && { file }) }] });
      return (await at.one(id))?.digest;
    };
    const chain = await digestOf("chain");
    expect(await digestOf("alias", "Chain.GGUF")).toBe(chain);
    expect(await digestOf("chain-coder")).not.toBe(chain);
  });

  it("C2: counts slots where there are no metrics, and does without both", async () => {
    await using at = await ground("llamacpp", llamaCppLister, { models, busy: 2, hasMetrics: false });
    expect(await at.one("chain")).toMatchObject({ slots: { total: 4, busy: 2 } });
    at.shape.settings.hasSlots = false;
    await at.list();
    await at.list();
    expect(await at.one("chain")).toMatchObject({ slots: { total: 4, busy: 2 } });
    expect(at.asked("/metrics")).toBe(1);
    expect(at.asked("/slots")).toBe(2);
  });

  it("C1: lets one sleep", async () => {
    await using at = await ground("llamacpp", llamaCppLister, { models, hasMetrics: false });
    const [awake] = await at.list();
    at.shape.settings.isSleeping = true;
    expect(await at.list()).toEqual([{ ...awake, state: "cold" }]);
    expect(at.shape.settings.isSleeping).toBe(true);
  });

  it("C1: asks a router about loaded ones only", async () => {
    await using at = await ground("llamacpp", llamaCppLister, {
      models: [{ id: "a" }, { id: "b", state: "cold" }, { id: "c", state: "loading" }],
      isRouter: true,
    });
    expect((await at.list()).map(({ id, state, slots }) => [id, state, slots?.total])).toEqual([
      ["a", "loaded", 4],
      ["b", "cold", undefined],
      ["c", "loading", undefined],
    ]);
    expect(at.asked("/props")).toBe(1);
  });

  it("has nothing while it loads", async () => {
    await using at = await ground("llamacpp", llamaCppLister, { models: [{ id: "a", state: "loading" }] });
    expect(await at.list()).toEqual([]);
  });
});

describe("vllm, mlx and others", () => {
  it("tell names, and vLLM the length", async () => {
    await using vllm = await ground("vllm", vllmLister, { models: [{ id: "Qwen/Qwen3-8B-AWQ", contextTokens: 40_960 }] });
    expect(await vllm.list()).toEqual([
      {
        ...{ id: "Qwen/Qwen3-8B-AWQ", endpoint: "here", server: "vllm", quantization: "AWQ", contextTokens: 40_960, state: "loaded" },
        can: { chat: true, tools: true, vision: false, json: true, embeddings: false },
      },
    ]);
    const mlx = [{ id: "mlx-community/Qwen3-4B-4bit" }, { id: "mlx-community/bge-small-en" }];
    await using other = await ground("mlx", (server, endpoint) => openAiLister(server, endpoint, "mlx"), { models: mlx });
    expect((await other.list()).map(({ state, quantization, can }) => [state, quantization, can.chat])).toEqual([
      ["cold", "4bit", true],
      ["cold", undefined, false],
    ]);
  });

  it.each([
    ["ollama", ollamaLister],
    ["lmstudio", lmStudioLister],
    ["llamacpp", llamaCppLister],
    ["vllm", vllmLister],
  ] as const)("of garbage, %s's lister is told as such", async (kind, lister) => {
    await using at = await ground(kind, lister, { models: [{ id: "a" }], listMode: "garbage" });
    await expect(at.list()).rejects.toMatchObject({ name: "ModelFault", kind: "garbage" });
    await at.shape.stop();
    await expect(at.list()).rejects.toMatchObject({ kind: "unreachable" });
  });

  it("leave out what the contract cannot say, and nothing else", async () => {
    const models = [{ id: "x".repeat(300) }, { id: "fine", contextTokens: -1 }];
    await using at = await ground("vllm", vllmLister, { models });
    expect((await at.list()).map(({ id, contextTokens }) => [id, contextTokens])).toEqual([["fine", undefined]]);
  });
});

describe("names", () => {
  it.each([
    ["Qwen3-8B-AWQ", "AWQ"],
    ["gemma-3-4b-it-Q4_K_M.gguf", "Q4_K_M"],
    ["llama-IQ2_XXS", "IQ2_XXS"],
    ["model-8bit", "8bit"],
    ["DeepSeek-V3-FP8", "FP8"],
    ["qwen3", undefined],
  ])("quantization of %s", (id, quantization) => expect(quantizationIn(id)).toBe(quantization));

  it.each([
    ["nomic-embed-text", true],
    ["BAAI/bge-m3", true],
    ["intfloat/e5-large", true],
    ["gemma3", false],
    ["orange5-chat", false],
  ])("embedder %s", (id, is) => expect(looksLikeEmbedder(id)).toBe(is));
});
