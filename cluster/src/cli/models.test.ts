import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LentModel } from "@openclaw-cluster/contract/models";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startApi, type TestApi } from "../../../tests/support/api-server.ts";
import { lentModel } from "../../../tests/support/fake-models.ts";
import { runCli } from "../../../tests/support/terminal.ts";
import { tokensText } from "./model-view.ts";

let api: TestApi;
let home: string;
let env: Record<string, string>;
beforeEach(async () => {
  api = await startApi();
  home = await mkdtemp(join(tmpdir(), "cli-models-"));
  env = { OPENCLAW_CLUSTER_HOME: home, OPENCLAW_CLUSTER_URL: api.url, OPENCLAW_CLUSTER_TOKEN: api.tokens.viewer };
});
afterEach(async () => {
  await api.close();
  await rm(home, { recursive: true });
});

const cli = (...argv: string[]): ReturnType<typeof runCli> => runCli(["models", ...argv], { env });
const listed = (stdout: string): LentModel[] => (JSON.parse(stdout) as { models: LentModel[] }).models;
const placesIn = (stdout: string): string[] => listed(stdout).map(({ id, node }) => `${id}@${node}`);

const EMBEDDER = { chat: false, tools: false, vision: false, json: false, embeddings: true };
const LENT: readonly LentModel[] = [
  lentModel("qwen3:8b", {
    ...{ digest: "sha256:500a", sizeBytes: 5_225_388_164, quantization: "Q4_K_M", contextTokens: 32_768, slots: { total: 2, busy: 1 } },
  }),
  lentModel("qwen3:8b", { ...{ node: "vm", endpoint: "gpu-box", server: "vllm", state: "loading", digest: "sha256:500a" } }),
  lentModel("nomic-embed-text:latest", { node: "vm", state: "cold", can: EMBEDDER, contextTokens: 8_192 }),
];

describe("models", () => {
  it("lists what is lent, by id and node", async () => {
    api.coordinator.lent = LENT;
    const { code, stdout } = await cli();
    expect(code).toBe(0);
    expect(stdout.split("\n").map((line) => line.split(/ {2,}/))).toEqual([
      ["MODEL", "NODE", "SERVER", "STATE", "CONTEXT", "SIZE", "WEIGHTS", "BUSY", "CAN"],
      ["nomic-embed-text:latest", "vm", "ollama", "cold", "8k", "embed"],
      ["qwen3:8b", "studio", "ollama", "loaded", "32k", "4.9 GiB", "Q4_K_M", "1/2", "chat tools json"],
      ["qwen3:8b", "vm", "vllm/gpu-box", "loading", "chat tools json"],
      [""],
    ]);
    expect((await cli("list")).stdout).toBe(stdout);
    expect(placesIn((await cli("--json")).stdout)).toEqual(["nomic-embed-text:latest@vm", "qwen3:8b@studio", "qwen3:8b@vm"]);
  });

  it("lists one node's, and knows one that lends nothing from one that is not there", async () => {
    api.coordinator.lent = LENT;
    expect(placesIn((await cli("--node", "studio", "--json")).stdout)).toEqual(["qwen3:8b@studio"]);
    api.coordinator.lent = LENT.filter(({ node }) => node === "vm");
    expect(await cli("--node", "studio")).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^studio lends no model\n\nStart Ollama/),
    });
    expect(await cli("--node", "attic")).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("not_found") });
    expect(await cli("--node", "My Mac")).toMatchObject({ code: 2, stdout: "" });
  });

  it("says what to do where nothing is lent", async () => {
    const next = /Start Ollama, .*policy\.yaml.*docs\/models\.md/;
    const { code, stdout } = await cli();
    expect(code).toBe(0);
    expect(stdout).toMatch(/^no node lends any model\n\n/);
    expect(stdout).toMatch(next);
    expect(listed((await cli("--json")).stdout)).toEqual([]);
    expect(await cli("show", "qwen3:8b")).toMatchObject({ code: 1, stderr: expect.stringMatching(next) });
  });

  it("shows every place of a model, with all that is known of it", async () => {
    api.coordinator.lent = LENT;
    const { code, stdout } = await cli("show", "qwen3:8b");
    expect(code).toBe(0);
    expect(stdout.split("\n").map((line) => line.split(/ {2,}/).join(": "))).toEqual([
      ...["model: qwen3:8b", "node: studio", "server: ollama", "state: loaded", "can: chat tools json", "context: 32768 tokens"],
      ...["size: 4.9 GiB", "weights: Q4_K_M", "busy: 1 of 2 at a time", "digest: sha256:500a", ""],
      ...["model: qwen3:8b", "node: vm", "server: vllm/gpu-box", "state: loading", "can: chat tools json", "digest: sha256:500a", ""],
    ]);
    expect((await cli("show", "nomic-embed-text")).stdout).toMatch(/^state +cold, the first request loads it$/m);
  });

  it("finds names as the router does", async () => {
    api.coordinator.lent = [
      ...LENT,
      lentModel("Qwen3-8B-GGUF", { node: "nas", server: "lmstudio", endpoint: "lmstudio", digest: "sha256:500a" }),
    ];
    const shown = async (name: string): Promise<string[]> => placesIn((await cli("show", name, "--json")).stdout);
    expect(await shown("QWEN3:8B")).toEqual(["Qwen3-8B-GGUF@nas", "qwen3:8b@studio", "qwen3:8b@vm"]);
    expect(await shown("qwen3:8b@vm")).toEqual(["qwen3:8b@vm"]);
    expect(await shown("auto:embed")).toEqual(["nomic-embed-text:latest@vm"]);
  });

  it("marks what costs money, and shows it by its name", async () => {
    api.coordinator.lent = [...LENT, lentModel("gpt-5", { endpoint: "cloud", server: "openai", paid: true })];
    expect((await cli()).stdout).toMatch(/^gpt-5 +studio +openai\/cloud +loaded +yes +chat/m);
    expect((await cli("show", "gpt-5")).stdout).toMatch(/^paid +each answer costs money/m);
  });

  it("names those that may have been meant", async () => {
    api.coordinator.lent = LENT;
    expect(await cli("show", "qwen3:14b")).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(/no node lends a model qwen3:14b; there is qwen3:8b.*\(not_found\)\n hint: .*openclaw-cluster models/),
    });
    expect(await cli("show", "http://elsewhere/v1")).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining("usage") });
  });

  it("lets no name steer the terminal", async () => {
    api.coordinator.lent = [lentModel("x\u001b[2Jy", { quantization: "Q\u0007" })];
    for (const argv of [[], ["show", "x\u001b[2Jy"], ["show", "x\u001b[2Jz"]]) {
      const { stdout, stderr } = await cli(...argv);
      expect(stdout + stderr).toContain("x[2J");
      expect(stdout + stderr).not.toMatch(/[\u001b\u0007]/);
    }
  });
});

it.each([
  [512, "512"],
  [4_096, "4k"],
  [32_768, "32k"],
  [128_000, "128k"],
  [131_072, "128k"],
  [1_536, "1.5k"],
  [1_000_000, "1M"],
  [1_048_576, "1M"],
])("calls a window of %d tokens %s", (tokens, text) => expect(tokensText(tokens)).toBe(text));
