import { afterEach, describe, expect, it } from "vitest";
import { NODE_MODELS_MAX } from "@openclaw-cluster/contract/models";
import { HandClock } from "../../../../tests/support/hand-clock.ts";
import { startModelShape, type ModelShape, type ShapeOptions } from "../../../../tests/support/model-shapes.ts";
import type { Shape } from "../../../../tests/support/model-shape-stage.ts";
import { silentLog } from "../../system/log.ts";
import { HEAR_MS } from "./model-server.ts";
import type { ModelShelf } from "../models.ts";
import { LOOK_MS } from "./shelf-place.ts";
import { openModelShelf, type ShelfParts } from "./shelf.ts";

const started: { close(): unknown }[] = [];
afterEach(async () => {
  await Promise.all(started.splice(0).map((one) => one.close()));
});

async function shape(kind: Shape, options: ShapeOptions = { models: [{ id: "a" }] }): Promise<ModelShape> {
  const server = await startModelShape(kind, options);
  started.push({ close: () => server.stop() });
  return server;
}

function open(parts: Partial<ShelfParts>): { shelf: ModelShelf; clock: HandClock; changes: () => number } {
  const clock = new HandClock();
  const shelf = openModelShelf({ endpoints: [], wellKnown: false, clock, log: silentLog, ...parts });
  started.push(shelf);
  let changes = 0;
  shelf.onChange(() => (changes += 1));
  return { shelf, clock, changes: () => changes };
}

const listed = (shelf: ModelShelf): string[] => shelf.models.map(({ endpoint, id }) => `${endpoint}/${id}`);

describe("the shelf", () => {
  it("lists all endpoints in their order, and follows them", async () => {
    const [one, two] = [await shape("ollama"), await shape("vllm", { models: [{ id: "b" }] })];
    const { shelf, clock, changes } = open({
      endpoints: [
        { name: "two", url: `${two.url}/v1` },
        { name: "one", url: one.url, kind: "ollama" },
      ],
    });
    await shelf.look();
    expect(listed(shelf)).toEqual(["two/b", "one/a"]);
    one.add({ id: "c", state: "cold" });
    clock.advance(LOOK_MS);
    await expect.poll(() => listed(shelf)).toEqual(["two/b", "one/a", "one/c"]);
    const before = changes();
    one.load("c");
    clock.advance(LOOK_MS);
    await expect.poll(() => shelf.models.at(-1)?.state).toBe("loaded");
    expect(changes()).toBe(before + 1);
  });

  it("H4: tells of changes only, busy slots among them", async () => {
    const server = await shape("llamacpp");
    const { shelf, changes } = open({ endpoints: [{ name: "x", url: server.url }] });
    await shelf.look();
    await shelf.look();
    expect(changes()).toBe(1);
    server.settings.busy = 2;
    await shelf.look();
    expect(changes()).toBe(2);
    expect(shelf.models[0]?.slots).toEqual({ total: 4, busy: 2 });
  });

  it("finds a server that starts, and drops one that stops, by the next look", async () => {
    const server = await shape("ollama");
    await server.stop();
    const { shelf, clock } = open({ wellKnown: true, ports: [server.port] });
    await shelf.look();
    expect(shelf.models).toEqual([]);
    await server.start();
    clock.advance(LOOK_MS);
    await expect.poll(() => listed(shelf)).toEqual([`ollama-${server.port}/a`]);
    await server.stop();
    clock.advance(LOOK_MS);
    await expect.poll(() => listed(shelf)).toEqual([]);
    await server.start();
    clock.advance(LOOK_MS);
    await expect.poll(() => listed(shelf)).toHaveLength(1);
  });

  it("H1, W1: one that hangs holds up no other, and is asked once at a time", async () => {
    const [hung, well] = [await shape("ollama"), await shape("vllm", { models: [{ id: "b" }] })];
    const { shelf, clock } = open({
      endpoints: [
        { name: "hung", url: hung.url },
        { name: "well", url: well.url },
      ],
    });
    await shelf.look();
    expect(listed(shelf)).toEqual(["hung/a", "well/b"]);
    hung.settings.listMode = "stall";
    const asked = hung.requests.length;
    well.add({ id: "c" });
    clock.advance(LOOK_MS);
    void shelf.look();
    void shelf.look();
    await expect.poll(() => listed(shelf)).toEqual(["hung/a", "well/b", "well/c"]);
    await expect.poll(() => hung.requests.length).toBe(asked + 2);
    clock.advance(HEAR_MS - 1);
    await expect.poll(() => well.requests.filter(({ path }) => path === "/v1/models").length).toBeGreaterThan(2);
    expect(listed(shelf)).toContain("hung/a");
    clock.advance(1);
    await expect.poll(() => listed(shelf)).toEqual(["well/b", "well/c"]);
  });

  it("W2: one that brings an answer meanwhile is at work, whatever it does not say", async () => {
    const server = await shape("ollama", { models: [{ id: "a" }], mode: "endless", tokensPerSecond: 500 });
    const { shelf, clock } = open({ endpoints: [{ name: "x", url: server.url }] });
    await shelf.look();
    const body = { model: "a", messages: [], stream: true };
    const answer = await shelf.ask({ path: "/chat/completions", endpoint: "x", model: "a", body }, new AbortController().signal);
    answer.body.resume();
    server.settings.listMode = "stall";
    clock.advance(LOOK_MS);
    for (let look = 0; look < 3; look += 1) {
      const said = server.questions[0]?.bytes ?? 0;
      await expect.poll(() => server.questions[0]?.bytes ?? 0).toBeGreaterThan(said + 10_000);
      const asked = server.requests.length;
      clock.advance(HEAR_MS);
      // The next look is there when this one is judged.
      await expect.poll(() => (clock.advance(500), server.requests.length)).toBeGreaterThan(asked);
      expect(listed(shelf)).toEqual(["x/a"]);
    }
    answer.body.destroy();
    await expect.poll(() => (clock.advance(HEAR_MS), listed(shelf))).toEqual([]);
  });

  it("W4: one that hung is there again at the next look, at a port that nobody set too", async () => {
    const server = await shape("ollama");
    const { shelf, clock } = open({ wellKnown: true, ports: [server.port] });
    await shelf.look();
    server.settings.listMode = "stall";
    for (let at = 0; at < 8; at += 1) {
      const asked = server.requests.length;
      clock.advance(LOOK_MS);
      await expect.poll(() => server.requests.length).toBeGreaterThan(asked);
      clock.advance(HEAR_MS);
      await expect.poll(() => server.requests.filter(({ closedAt }) => closedAt === undefined).length).toBe(0);
      await expect.poll(() => listed(shelf)).toEqual([]);
    }
    server.settings.listMode = "ok";
    clock.advance(LOOK_MS);
    await expect.poll(() => listed(shelf)).toHaveLength(1);
  });

  it("garbage counts as not there, and ends nothing", async () => {
    const server = await shape("lmstudio");
    const { shelf } = open({ endpoints: [{ name: "x", url: server.url }] });
    await shelf.look();
    server.settings.listMode = "garbage";
    await shelf.look();
    expect(listed(shelf)).toEqual(["x/a"]);
    await shelf.look();
    expect(shelf.models).toEqual([]);
    server.settings.listMode = "ok";
    await shelf.look();
    expect(listed(shelf)).toEqual(["x/a"]);
  });

  it("W3: lends no stranger's work, and asks it ever more rarely", async () => {
    const [stranger, other] = [await shape("stranger"), await shape("openai")];
    const { shelf, clock } = open({ wellKnown: true, ports: [stranger.port, other.port] });
    await shelf.look();
    const asked = stranger.requests.length;
    for (let at = 0; at < 30; at += 1) {
      clock.advance(LOOK_MS);
      await shelf.look();
    }
    expect(shelf.models).toEqual([]);
    expect(stranger.requests.length).toBeLessThanOrEqual(asked * 6);
    // One that is set is whatever it is.
    const set = open({ endpoints: [{ name: "mine", url: other.url }] });
    await set.shelf.look();
    expect(listed(set.shelf)).toEqual(["mine/a"]);
  });

  it("W3: a server at a stranger's port is found when the stranger has gone", async () => {
    const stranger = await shape("stranger");
    const { shelf, clock } = open({ wellKnown: true, ports: [stranger.port] });
    for (let at = 0; at < 10; at += 1) {
      await shelf.look();
      clock.advance(LOOK_MS);
    }
    await stranger.stop();
    await shelf.look();
    await shape("ollama", { port: stranger.port, models: [{ id: "late" }] });
    await shelf.look();
    expect(shelf.models.map(({ id }) => id)).toEqual(["late"]);
  });

  it("H2: a set endpoint and its well-known twin are one", async () => {
    const server = await shape("ollama");
    for (const url of [`http://localhost:${server.port}/v1`, `http://127.0.0.1:${server.port}/`]) {
      const { shelf } = open({ endpoints: [{ name: "mine", url }], wellKnown: true, ports: [server.port] });
      await shelf.look();
      expect(listed(shelf)).toEqual(["mine/a"]);
    }
  });

  it("H3: lists each once, and no more than the limit", async () => {
    const models = [{ id: "a" }, { id: "a" }, ...Array.from({ length: NODE_MODELS_MAX + 10 }, (_, at) => ({ id: `m${at}` }))];
    const server = await shape("vllm", { models });
    const { shelf } = open({
      endpoints: [
        { name: "x", url: server.url },
        { name: "no address", url: "::" },
      ],
    });
    await shelf.look();
    expect(shelf.models).toHaveLength(NODE_MODELS_MAX);
    expect(new Set(listed(shelf)).size).toBe(NODE_MODELS_MAX);
  });

  it("asks the server that has the model, and knows no other", async () => {
    const [one, two] = [await shape("ollama"), await shape("vllm")];
    const { shelf } = open({
      endpoints: [
        { name: "one", url: one.url },
        { name: "two", url: two.url },
      ],
    });
    await shelf.look();
    const { signal } = new AbortController();
    const body = { model: "other", messages: [] };
    const { status } = await shelf.ask({ path: "/chat/completions", endpoint: "two", model: "a", body }, signal);
    expect(status).toBe(200);
    expect([one.questions.length, two.questions.length]).toEqual([0, 1]);
    expect(two.questions[0]?.body).toMatchObject({ model: "a" });
    for (const wrong of [
      { endpoint: "three", model: "a" },
      { endpoint: "one", model: "b" },
    ])
      await expect(shelf.ask({ path: "/chat/completions", body, ...wrong }, signal)).rejects.toMatchObject({ kind: "unknown_model" });
  });

  it("looks no more when it is closed", async () => {
    const server = await shape("ollama");
    const { shelf, clock } = open({ endpoints: [{ name: "x", url: server.url }] });
    await shelf.look();
    shelf.close();
    const asked = server.requests.length;
    clock.advance(LOOK_MS * 5);
    await shelf.look();
    expect(server.requests.length).toBe(asked);
  });
});
