/**
 * What the tests rely on in the real llama-server and in the models made for it. Where a newer llama.cpp changes one of
 * these, the change shows here and not in a test of something else.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { writeModel } from "../support/gguf-llama.ts";
import { CHAIN, chainText, PACED, TINY } from "../support/gguf-model.ts";
import { whyNoLlama } from "../support/llama-program.ts";
import { startLlamaServer, type LlamaOptions, type LlamaServer } from "../support/llama-server.ts";

interface Answer {
  readonly choices: readonly [
    {
      readonly finish_reason: string;
      readonly message: { readonly content: string; readonly tool_calls?: readonly [{ readonly id: string }] };
    },
  ];
  readonly usage: object;
}
interface Chunk {
  readonly choices: readonly { readonly delta: { readonly content?: string | null } }[];
  readonly usage?: object;
}

const MESSAGES = [{ role: "user", content: "Hello?" }];
/** `<s>`, two turns with their marks, and what they say, one token for each character (V1). */
const PROMPT_TOKENS = 1 + (1 + "user\nHello?".length + 1 + 1) + (1 + "assistant\n".length);
const WAIT = { timeout: 20_000, interval: 20 };

const whyNot = await whyNoLlama();

test("the same options give the same model, byte for byte", () => {
  const folder = mkdtempSync(join(tmpdir(), "ocx-gguf-"));
  try {
    for (const options of [CHAIN, TINY]) {
      const [first, second] = ["a", "b"].map((name) => {
        const path = join(folder, `${options.name}-${name}.gguf`);
        writeModel(path, options);
        return readFileSync(path);
      }) as [Buffer, Buffer];
      expect(first.subarray(0, 4).toString()).toBe("GGUF");
      expect(first.equals(second)).toBe(true);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

describe.skipIf(whyNot !== undefined)(`a real llama-server${whyNot === undefined ? "" : ` (skipped: ${whyNot})`}`, () => {
  const servers: LlamaServer[] = [];
  let chain: LlamaServer;
  const start = async (options: Partial<LlamaOptions> = {}): Promise<LlamaServer> => {
    const server = await startLlamaServer({ model: CHAIN, contextTokens: 1_024, slots: 2, ...options });
    servers.push(server);
    return server;
  };
  const post = (server: LlamaServer, path: string, body: object, more: RequestInit = {}): Promise<Response> =>
    fetch(server.url + path, { method: "POST", body: JSON.stringify(body), ...more });
  const chat = async (server: LlamaServer, body: object): Promise<Answer> => {
    const response = await post(server, "/v1/chat/completions", { messages: MESSAGES, ...body });
    expect(response.status).toBe(200);
    return (await response.json()) as Answer;
  };
  const get = async (server: LlamaServer, path: string): Promise<unknown> => (await fetch(server.url + path)).json();
  beforeAll(async () => void (chain = await start()));
  afterAll(() => Promise.all(servers.map((server) => server.stop())));

  test("is ready, and says what it serves, to how many and how much", async () => {
    const health = await fetch(`${chain.url}/health`);
    expect([health.status, await health.json()]).toEqual([200, { status: "ok" }]);
    expect(health.headers.get("server")).toBe("llama.cpp");
    expect(await get(chain, "/v1/models")).toMatchObject({ data: [{ id: CHAIN.name, meta: { n_ctx: 1_024, n_ctx_train: 8_192 } }] });
    expect(await get(chain, "/props")).toMatchObject({
      total_slots: 2,
      model_alias: CHAIN.name,
      chat_template_caps: { supports_tools: true },
    });
    expect(await get(chain, "/slots")).toMatchObject([
      { n_ctx: 1_024, is_processing: false },
      { n_ctx: 1_024, is_processing: false },
    ]);
  });

  test.each([{ temperature: 0 }, {}])("answers with its words, at any sampling: %j", async (sampling) => {
    const { choices, usage } = await chat(chain, sampling);
    expect(choices[0]).toMatchObject({ finish_reason: "stop", message: { content: chainText(CHAIN) } });
    const completion = CHAIN.words.length + 1;
    expect(usage).toMatchObject({
      prompt_tokens: PROMPT_TOKENS,
      completion_tokens: completion,
      total_tokens: PROMPT_TOKENS + completion,
    });
    const cut = await chat(chain, { ...sampling, max_tokens: 5 });
    expect(cut.choices[0]).toMatchObject({ finish_reason: "length", message: { content: " alpha bravo charlie delta echo" } });
  });

  test("streams them, a word at a time, with what they cost", async () => {
    const response = await post(chain, "/v1/chat/completions", {
      ...{ messages: MESSAGES, stream: true, stream_options: { include_usage: true } },
    });
    expect(response.headers.get("content-type")).toContain("text/event-stream");
    const data = (await response.text()).split("\n").flatMap((line) => /^data: (.*)$/.exec(line)?.[1] ?? []);
    expect(data.pop()).toBe("[DONE]");
    const chunks = data.map((line) => JSON.parse(line) as Chunk);
    const words = chunks.flatMap(({ choices }) => choices[0]?.delta.content ?? []);
    expect(words).toEqual(CHAIN.words.map((word) => ` ${word}`));
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: CHAIN.words.length + 1 } });
  });

  test.each([{ temperature: 0 }, {}])("calls a tool that it is offered, and answers when it has the result: %j", async (sampling) => {
    const parameters = {
      type: "object",
      properties: { city: { type: "string" }, days: { type: "integer" }, unit: { type: "string", enum: ["metric", "imperial"] } },
      required: ["city", "days", "unit"],
    };
    const tools = [{ type: "function", function: { name: "weather", description: "Of the next days.", parameters } }];
    const called = (await chat(chain, { tools, ...sampling })).choices[0];
    expect(called.finish_reason).toBe("tool_calls");
    const args = JSON.stringify({ city: chainText(CHAIN), days: 0, unit: "imperial" });
    expect(called.message.tool_calls).toEqual([
      { id: expect.any(String), type: "function", function: { name: "weather", arguments: args } },
    ]);
    const messages = [...MESSAGES, called.message, { role: "tool", tool_call_id: called.message.tool_calls?.[0].id, content: "Rain." }];
    const answered = (await chat(chain, { messages, tools, ...sampling })).choices[0];
    expect(answered.finish_reason).toBe("stop");
    expect(answered.message.content.trim()).toBe(chainText(CHAIN).trim());
  });

  test("keeps to a schema", async () => {
    const properties = {
      title: { type: "string" },
      count: { type: "integer" },
      tags: { type: "array", items: { type: "string" }, minItems: 2 },
    };
    const schema = { type: "object", properties, required: ["title", "count", "tags"] };
    const response_format = { type: "json_schema", json_schema: { name: "book", strict: true, schema } };
    const { content } = (await chat(chain, { response_format })).choices[0].message;
    expect(JSON.parse(content)).toEqual({ title: chainText(CHAIN), count: 0, tags: [chainText(CHAIN), chainText(CHAIN)] });
  });

  test("gives embeddings where it was started for them, and says elsewhere that it was not", async () => {
    const sibling = await start({ embeddings: true, slots: 1 });
    const input = ["one text", "another text", "one text"];
    const response = await post(sibling, "/v1/embeddings", { input });
    const { data } = (await response.json()) as { data: readonly { readonly embedding: readonly number[] }[] };
    const [one, another, again] = data.map(({ embedding }) => embedding);
    expect(one).toHaveLength(CHAIN.width);
    expect(again).toEqual(one);
    expect(another).not.toEqual(one);
    const refused = await post(chain, "/v1/embeddings", { input });
    expect([refused.status, await refused.json()]).toMatchObject([501, { error: { type: "not_supported_error" } }]);
  });

  test("refuses a prompt that is longer than a slot, and cuts an answer that becomes it", async () => {
    const content = "x".repeat(1_024);
    const refused = await post(chain, "/v1/chat/completions", { messages: [{ role: "user", content }], stream: true });
    expect([refused.status, await refused.json()]).toMatchObject([
      400,
      { error: { type: "exceed_context_size_error", n_ctx: 1_024, n_prompt_tokens: expect.any(Number) } },
    ]);
    const messages = [{ role: "user", content: content.slice(PROMPT_TOKENS) }];
    expect(await chat(chain, { messages })).toMatchObject({ choices: [{ finish_reason: "length" }], usage: { total_tokens: 1_024 } });
  });

  test("answers only to its key, if it has one", async () => {
    const locked = await start({ apiKey: "a-key", slots: 1 });
    const asked = async (path: string, authorization: string): Promise<number> =>
      (await fetch(locked.url + path, { headers: { authorization } })).status;
    expect(await asked("/v1/models", "Bearer another")).toBe(401);
    expect(await asked("/v1/models", "Bearer a-key")).toBe(200);
    expect(await asked("/health", "")).toBe(200);
  });

  test("of a random model, the same seed says the same and another seed something else", async () => {
    const random = await start({ model: TINY, slots: 1 });
    const says = async (seed: number): Promise<string> => (await chat(random, { seed, max_tokens: 200 })).choices[0].message.content;
    const first = await says(1);
    expect(first).toMatch(/^( [a-z]+|[.,])+$/);
    expect(await says(1)).toBe(first);
    expect(await says(2)).not.toBe(first);
  });

  test("at a real model's pace: who finds no slot waits, who leaves frees one, and a crash ends a stream", async () => {
    const paced = await start({ model: PACED, contextTokens: 4_096, slots: 2 });
    const leaving = new AbortController();
    const body = { messages: MESSAGES, stream: true };
    // Until the slot is full, which takes ten times as long as the test needs.
    const endless = { ...body, ignore_eos: true };
    const ask = async (asked: object, signal?: AbortSignal): Promise<string> =>
      (await post(paced, "/v1/chat/completions", asked, signal && { signal })).text();
    const busy = async (): Promise<number> =>
      ((await get(paced, "/slots")) as { is_processing: boolean }[]).filter((slot) => slot.is_processing).length;
    const waiting = async (): Promise<string | undefined> =>
      /^llamacpp:requests_deferred (\d+)/m.exec(await (await fetch(`${paced.url}/metrics`)).text())?.[1];
    const left = Promise.allSettled([ask(endless, leaving.signal), ask(endless, leaving.signal)]);
    await expect.poll(busy, WAIT).toBe(2);
    const queued = ask(body);
    await expect.poll(waiting, WAIT).toBe("1");
    leaving.abort();
    expect((await left).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    await expect.poll(waiting, WAIT).toBe("0");
    const words = [...(await queued).matchAll(/"content":"([^"]*)"/g)].map(([, word]) => word);
    expect(words.join("")).toBe(chainText(PACED));

    const response = await post(paced, "/v1/chat/completions", endless);
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    await reader.read();
    process.kill(paced.pid, "SIGKILL");
    const rest = (async () => {
      for (;;) if ((await reader.read()).done) return "whole";
    })();
    await expect(rest).rejects.toThrow();
    await paced.stop();
    const again = await start({ port: paced.port });
    expect((await chat(again, {})).choices[0].message.content).toBe(chainText(CHAIN));
  });
});
