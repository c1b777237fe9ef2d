import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { json, text } from "node:stream/consumers";
import { afterEach, describe, expect, it } from "vitest";
import { HandClock } from "../../../../tests/support/hand-clock.ts";
import { startModelShape, type ModelShape, type ShapeOptions } from "../../../../tests/support/model-shapes.ts";
import type { Shape } from "../../../../tests/support/model-shape-stage.ts";
import { systemClock, type Clock } from "../../system/clock.ts";
import { STREAM_BYTES_MAX } from "./answer-body.ts";
import { askServer, FIRST_BYTE_MS, IDLE_MS } from "./call.ts";
import { FOLDED_BYTES_MAX } from "./fold.ts";
import { ModelServer } from "./model-server.ts";
import type { ModelAnswer, ModelPath } from "../models.ts";

const ended: (() => unknown)[] = [];
afterEach(async () => {
  await Promise.all(ended.splice(0).map((end) => end()));
});

type Ask = (body?: object, signal?: AbortSignal, path?: ModelPath) => Promise<ModelAnswer>;

function asker(url: string, kind: Shape, clock: Clock): Ask {
  const server = new ModelServer({ url, clock });
  ended.push(() => server.close());
  return (body = {}, signal = new AbortController().signal, path = "/chat/completions") => {
    const question = { path, model: "a", endpoint: "x", body: { model: "theirs", messages: [{ role: "user", content: "hi" }], ...body } };
    return askServer({ server, kind: kind === "stranger" ? "openai" : kind, clock }, question, signal);
  };
}

async function ground(
  options: ShapeOptions = {},
  kind: Shape = "llamacpp",
  clock: Clock = systemClock,
): Promise<{ shape: ModelShape; ask: Ask }> {
  const shape = await startModelShape(kind, { models: [{ id: "a" }], ...options });
  ended.push(() => shape.stop());
  return { shape, ask: asker(shape.url, kind, clock) };
}

/** A server that answers as told, beyond what the shapes do. */
async function scripted(answer: (response: ServerResponse) => void): Promise<Ask> {
  const server = createServer((_request, response) => answer(response)).listen(0, "127.0.0.1");
  await expect.poll(() => server.listening).toBe(true);
  ended.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return asker(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, "openai", systemClock);
}

const events =
  (...data: unknown[]) =>
  (response: ServerResponse): void => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.end(data.map((one) => `data: ${typeof one === "string" ? one : JSON.stringify(one)}\n\n`).join(""));
  };
const delta = (part: object, finish: string | null = null): object => ({
  id: "c",
  model: "m",
  choices: [{ index: 0, delta: part, finish_reason: finish }],
});

describe("a whole chat", () => {
  it("A1: is asked for as a stream and folded", async () => {
    const { shape, ask } = await ground();
    const answer = await ask({ temperature: 0 });
    expect(answer).toMatchObject({ status: 200, contentType: "application/json" });
    expect(await json(answer.body)).toEqual({
      ...{ id: "chatcmpl-shape", object: "chat.completion", created: 1_700_000_000, model: "a" },
      choices: [{ index: 0, message: { role: "assistant", content: "alpha bravo charlie delta" }, finish_reason: "stop" }],
      usage: { prompt_tokens: 100, completion_tokens: 4, total_tokens: 104 },
    });
    expect(shape.questions[0]?.body).toMatchObject({ model: "a", temperature: 0, stream: true, stream_options: { include_usage: true } });
  });

  it("has its tool call", async () => {
    const { ask } = await ground();
    const answer = await json((await ask({ tools: [{ type: "function", function: { name: "weather" } }] })).body);
    expect(answer).toMatchObject({
      choices: [
        {
          message: {
            content: null,
            tool_calls: [{ id: "call_1", type: "function", function: { name: "weather", arguments: '{"city":"Berlin"}' } }],
          },
          finish_reason: "tool_calls",
        },
      ],
    });
  });

  it("puts pieces of several calls together, also where all bear one index", async () => {
    const part = (index: number, id: string | undefined, name: string | undefined, args: string): object =>
      delta({
        tool_calls: [{ index, ...(id !== undefined && { id }), function: { ...(name !== undefined && { name }), arguments: args } }],
      });
    const ask = await scripted(
      events(
        delta({ role: "assistant", reasoning_content: "hm" }),
        delta({ reasoning_content: "m" }),
        part(0, "x", "one", '{"a"'),
        part(1, "y", "two", "{"),
        part(0, undefined, undefined, ":1}"),
        part(1, undefined, undefined, "}"),
        part(1, "z", "three", "{}"),
        delta({}, "tool_calls"),
        "[DONE]",
      ),
    );
    const { choices } = (await json((await ask()).body)) as { choices: { message: { reasoning_content: string; tool_calls: object[] } }[] };
    expect(choices[0]?.message.reasoning_content).toBe("hmm");
    expect(choices[0]?.message.tool_calls).toEqual([
      { id: "x", type: "function", function: { name: "one", arguments: '{"a":1}' } },
      { id: "y", type: "function", function: { name: "two", arguments: "{}" } },
      { id: "z", type: "function", function: { name: "three", arguments: "{}" } },
    ]);
  });

  it("is taken as it is from a server that does not stream", async () => {
    const ask = await scripted((response) => response.writeHead(200, { "content-type": "application/json" }).end('{"choices":[]}'));
    expect(await json((await ask()).body)).toEqual({ choices: [] });
    await expect(ask({ stream: true })).rejects.toMatchObject({ kind: "unsupported" });
  });

  it("F2: of a model that never stops is given up at its limit", async () => {
    const { shape, ask } = await ground({ mode: "endless", wordBytes: 256 * 1024, tokensPerSecond: 1e9 });
    await expect(ask()).rejects.toMatchObject({ kind: "too_large" });
    await expect.poll(() => shape.questions[0]?.aborted).toBe(true);
    expect(shape.questions[0]?.bytes).toBeLessThan(FOLDED_BYTES_MAX * 3);
  });

  it("F3: an error inside the stream is the answer", async () => {
    const ask = await scripted(events(delta({ content: "a" }), { error: { code: 503, message: "gone" } }));
    const answer = await ask();
    expect([answer.status, await json(answer.body)]).toEqual([503, { error: { code: 503, message: "gone" } }]);
  });
});

describe("a streamed chat", () => {
  it("T1: is passed as it came, but for a count that was not asked for", async () => {
    const { ask } = await ground();
    const asked = await text((await ask({ stream: true, stream_options: { include_usage: true } })).body);
    const unasked = await text((await ask({ stream: true })).body);
    const pieces = asked.split("\n\n");
    const counted = pieces.filter((piece) => piece.includes('"usage"'));
    expect(counted).toHaveLength(1);
    expect(unasked.split("\n\n")).toEqual(pieces.filter((piece) => !counted.includes(piece)));
    expect(unasked).toMatch(/data: \[DONE\]\n\n$/);
  });

  it("B1: lets the server wait for its reader", async () => {
    const { shape, ask } = await ground({ mode: "endless", wordBytes: 32 * 1024, tokensPerSecond: 1e9 });
    const { body } = await ask({ stream: true });
    const [record] = shape.questions;
    let seen = -1;
    // It stands when nothing has come for a while: sockets' buffers are full, and here is no more than the stream's mark.
    await expect.poll(() => record?.bytes === seen || ((seen = record?.bytes ?? 0), false), { interval: 100 }).toBe(true);
    expect(body.readableLength).toBeLessThanOrEqual(body.readableHighWaterMark + 96 * 1024);
    expect(seen).toBeLessThan(24 * 1024 * 1024);
    let read = 0;
    for await (const piece of body) {
      read += (piece as Buffer).length;
      if (read > seen * 2) break;
    }
    expect(record?.bytes).toBeGreaterThan(seen);
    await expect.poll(() => record?.aborted).toBe(true);
  });

  it.each(["destroy", "abort"] as const)("A3, B3: %s closes the server's socket at once", async (way) => {
    const { shape, ask } = await ground({ mode: "endless", tokensPerSecond: 100 });
    const giveUp = new AbortController();
    const { body } = await ask({ stream: true }, giveUp.signal);
    const at = Date.now();
    if (way === "destroy") body.destroy();
    else giveUp.abort();
    await expect.poll(() => shape.questions[0]?.closedAt, { interval: 5 }).toBeDefined();
    expect(shape.questions[0]?.aborted).toBe(true);
    expect((shape.questions[0]?.closedAt ?? 0) - at).toBeLessThan(100);
  });

  it.each(["whole", "streamed"])("A3: giving up before the answer does (%s)", async (way) => {
    const { shape, ask } = await ground({ mode: "stall" });
    const giveUp = new AbortController();
    const answer = ask({ stream: way === "streamed" }, giveUp.signal);
    await expect.poll(() => shape.questions.length).toBe(1);
    giveUp.abort();
    await expect(answer).rejects.toMatchObject({ kind: "unreachable" });
    await expect.poll(() => shape.questions[0]?.aborted).toBe(true);
  });

  it("A3: giving up while it is folded does", async () => {
    const { shape, ask } = await ground({ mode: "endless", tokensPerSecond: 100 });
    const giveUp = new AbortController();
    const answer = ask({}, giveUp.signal);
    await expect.poll(() => shape.questions[0]?.bytes ?? 0).toBeGreaterThan(500);
    giveUp.abort();
    await expect(answer).rejects.toMatchObject({ kind: "unreachable" });
    await expect.poll(() => shape.questions[0]?.aborted).toBe(true);
  });
});

describe("what goes wrong", () => {
  it.each([false, true])("a connection that breaks is unreachable (stream: %s)", async (stream) => {
    const { ask } = await ground({ mode: "dieMidStream" });
    const read = async (): Promise<string> => text((await ask({ stream })).body);
    await expect(read()).rejects.toMatchObject({ name: "ModelFault", kind: "unreachable" });
  });

  it.each([false, true])("T2: so is a stream that ends before its end (stream: %s)", async (stream) => {
    const ask = await scripted(events(delta({ content: "alpha" })));
    const read = async (): Promise<string> => text((await ask({ stream })).body);
    await expect(read()).rejects.toMatchObject({ kind: "unreachable" });
  });

  it.each([false, true])("a page is garbage (stream: %s)", async (stream) => {
    const { ask } = await ground({ mode: "garbage" });
    await expect(ask({ stream })).rejects.toMatchObject({ kind: "garbage" });
    await expect(ask({ stream: false, input: "x" }, undefined, "/embeddings")).rejects.toMatchObject({ kind: "garbage" });
  });

  it("so are a stream of nothing, an event that is no JSON, and being sent elsewhere", async () => {
    await expect((await scripted(events()))({ stream: true })).rejects.toMatchObject({ kind: "garbage" });
    await expect((await scripted(events("{]", "[DONE]")))()).rejects.toMatchObject({ kind: "garbage" });
    await expect((await scripted(events("hello")))({ stream: true })).rejects.toMatchObject({ kind: "garbage" });
    const elsewhere = await scripted((response) => response.writeHead(307, { location: "http://127.0.0.1:1/" }).end());
    await expect(elsewhere()).rejects.toMatchObject({ kind: "garbage" });
  });

  it("an event without end is too large", async () => {
    const ask = await scripted((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(`data: ${"x".repeat(2 * 1024 * 1024)}`);
    });
    await expect(ask({ stream: true })).rejects.toMatchObject({ kind: "too_large" });
  });

  it("so is whoever wants to speak another protocol unreachable, and is not waited for", async () => {
    const ask = await scripted((response) => response.socket?.end("HTTP/1.1 101 Over\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"));
    await expect(ask()).rejects.toMatchObject({ kind: "unreachable" });
  });

  it("a stream without end is ended at its limit", async () => {
    const { shape, ask } = await ground({ mode: "endless", wordBytes: 256 * 1024, tokensPerSecond: 1e9 });
    const { body } = await ask({ stream: true });
    let bytes = 0;
    const read = async (): Promise<void> => {
      for await (const piece of body) bytes += (piece as Buffer).length;
    };
    await expect(read()).rejects.toMatchObject({ kind: "too_large" });
    expect(bytes).toBeLessThanOrEqual(STREAM_BYTES_MAX);
    await expect.poll(() => shape.questions[0]?.aborted).toBe(true);
  });

  it("so is an answer that comes byte by byte", async () => {
    const ask = await scripted((response) => {
      response.socket?.write("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n");
      response.socket?.write("1\r\n \r\n".repeat(1_048_576));
    });
    await expect(ask()).rejects.toThrow(/an answer in more than \d+ pieces/);
  });

  it("silence has its time, before the first byte and after", async () => {
    const clock = new HandClock();
    const { shape, ask } = await ground({ mode: "stall" }, "ollama", clock);
    const first = ask();
    await expect.poll(() => shape.questions.length).toBe(1);
    clock.advance(FIRST_BYTE_MS);
    await expect(first).rejects.toMatchObject({ kind: "silent" });
    await expect.poll(() => shape.questions[0]?.aborted).toBe(true);
    shape.settings.mode = "stallMidStream";
    const { body } = await ask({ stream: true });
    const rest = text(body).catch((error: unknown) => error);
    // The time counts from when it is waited for, which is not to be seen from outside.
    await expect.poll(() => (clock.advance(IDLE_MS), body.destroyed)).toBe(true);
    expect(await rest).toMatchObject({ kind: "silent" });
  });

  it("A4: an error is passed with its status, as JSON, and bounded", async () => {
    const { ask } = await ground({ mode: "error" });
    const answer = await ask({ stream: true });
    expect([answer.status, answer.contentType]).toEqual([500, "application/json"]);
    expect(await json(answer.body)).toMatchObject({ error: { message: "scripted failure" } });
    const page = await scripted((response) => response.writeHead(502).end("bad gateway"));
    expect(await json((await page()).body)).toEqual({ error: { message: "bad gateway", type: "server_error", code: 502 } });
    const book = await scripted((response) => response.writeHead(400).end("x".repeat(100_000)));
    expect(await json((await book()).body)).toMatchObject({ error: { code: 400 } });
  });

  it("nobody there is unreachable", async () => {
    const { shape, ask } = await ground();
    await shape.stop();
    await expect(ask()).rejects.toMatchObject({ kind: "unreachable" });
  });

  it("L3: a kept connection that was closed meanwhile is no fault", async () => {
    const { shape, ask } = await ground();
    await text((await ask()).body);
    await shape.stop();
    await shape.start();
    expect((await ask()).status).toBe(200);
  });
});

describe("embeddings and responses", () => {
  it("are passed as they come", async () => {
    const { ask } = await ground({ models: [{ id: "a", embeddings: true }] }, "ollama");
    expect(await json((await ask({ input: ["x", "y"] }, undefined, "/embeddings")).body)).toMatchObject({
      data: [{ index: 0 }, { index: 1 }],
    });
    expect(await json((await ask({}, undefined, "/responses")).body)).toMatchObject({ object: "response", model: "a" });
    expect(await text((await ask({ stream: true }, undefined, "/responses")).body)).toMatch(/response\.completed/);
  });

  it("are told to be unsupported where they are", async () => {
    const { ask } = await ground({}, "llamacpp");
    await expect(ask({ input: "x" }, undefined, "/embeddings")).rejects.toMatchObject({ kind: "unsupported" });
    const mlx = await ground({}, "mlx");
    await expect(mlx.ask({}, undefined, "/responses")).rejects.toMatchObject({ kind: "unsupported" });
    expect(mlx.shape.questions).toEqual([]);
  });
});
