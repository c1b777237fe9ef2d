import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import { HandClock } from "../../../../tests/support/hand-clock.ts";
import { startModelShape, type ShapeOptions } from "../../../../tests/support/model-shapes.ts";
import type { Shape } from "../../../../tests/support/model-shape-stage.ts";
import { systemClock } from "../../system/clock.ts";
import { HEAR_MS, ModelServer } from "./model-server.ts";
import { recognise } from "./recognise.ts";

const models = [{ id: "qwen3:8b" }];

async function kindOf(shape: Shape, options: ShapeOptions = { models }, suffix = ""): Promise<string | undefined> {
  await using server = await startModelShape(shape, options);
  const asked = new ModelServer({ url: `${server.url}${suffix}`, apiKey: options.apiKey, clock: systemClock });
  try {
    return await recognise(asked);
  } finally {
    asked.close();
  }
}

describe("recognise", () => {
  it.each(["ollama", "lmstudio", "llamacpp", "vllm", "mlx", "openai"] as const)("knows %s", async (shape) => {
    expect(await kindOf(shape)).toBe(shape);
    expect(await kindOf(shape, { models }, "/v1/")).toBe(shape);
  });

  it("knows an older LM Studio, a router, and a server that still loads", async () => {
    expect(await kindOf("lmstudio", { models, isOld: true })).toBe("lmstudio");
    expect(await kindOf("llamacpp", { models: [{ id: "a", state: "cold" }], isRouter: true })).toBe("llamacpp");
    expect(await kindOf("llamacpp", { models: [{ id: "a", state: "loading" }] })).toBe("llamacpp");
  });

  it("knows those that have no model yet", async () => {
    expect(await kindOf("ollama", {})).toBe("ollama");
    expect(await kindOf("lmstudio", {})).toBe("lmstudio");
  });

  it("says the key", async () => {
    expect(await kindOf("vllm", { models, apiKey: "sesame" })).toBe("vllm");
  });

  it("G1: takes a web server, garbage, and nobody for none", async () => {
    expect(await kindOf("stranger")).toBeUndefined();
    expect(await kindOf("ollama", { models, listMode: "garbage" })).toBeUndefined();
    await using gone = await startModelShape("ollama");
    await gone.stop();
    expect(await recognise(new ModelServer({ url: gone.url, clock: systemClock }))).toBeUndefined();
  });

  it("G1: gives one up that hangs, after its time", async () => {
    const clock = new HandClock();
    await using server = await startModelShape("ollama", { models, listMode: "stall" });
    const found = recognise(new ModelServer({ url: server.url, clock }));
    await expect.poll(() => server.requests.length).toBe(1);
    clock.advance(HEAR_MS);
    expect(await found).toBeUndefined();
    await expect.poll(() => server.requests[0]?.aborted).toBe(true);
  });

  it("G1: gives one up whose list has no end, and follows nobody elsewhere", async () => {
    let asked = 0;
    const server = createServer((request, response) => {
      asked += 1;
      if (request.url === "/v1/models") return void response.writeHead(302, { location: "/elsewhere" }).end();
      const more = (): void => {
        while (!response.destroyed && response.write("x".repeat(65_536)));
        if (!response.destroyed) response.once("drain", more);
      };
      more();
    }).listen(0, "127.0.0.1");
    await expect.poll(() => server.listening).toBe(true);
    const line = new ModelServer({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, clock: systemClock });
    expect(await recognise(line)).toBeUndefined();
    expect(asked).toBe(8);
    line.close();
    server.closeAllConnections();
    server.close();
  });
});
