/**
 * OpenAI's own client for Node, as it is, against the models of all nodes: real daemons, and behind them a real llama-server and a
 * scripted server for what a real one does too seldom. What the client makes of an answer is what counts.
 */
import OpenAI, {
  APIError,
  APIUserAbortError,
  AuthenticationError,
  BadRequestError,
  InternalServerError,
  NotFoundError,
  PermissionDeniedError,
  RateLimitError,
} from "openai";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { startCluster, until, type TestCluster } from "../support/daemon.ts";
import { CHAIN, chainText, PACED } from "../support/gguf-model.ts";
import { whyNoLlama } from "../support/llama-program.ts";
import { startLlamaServer, type LlamaServer } from "../support/llama-server.ts";
import { nodeEndpoint } from "../support/node-endpoint.ts";
import { startModelShape, type ModelShape } from "../support/model-shapes.ts";

const FOUND_MS = 10_000;
const TEST_MS = 60_000;
const EMBED = "tiny-embed";
/** Of the real server's slots. */
const CONTEXT_TOKENS = 4_096;
const MESSAGES = [{ role: "user", content: "Hello?" }] as const satisfies OpenAI.ChatCompletionMessageParam[];
const WORDS = "alpha bravo charlie delta";
/** Of one user's: half of the line (QUEUE_LENGTH_MAX), and one at work. */
const ONE_USERS_MAX = 33;

const WEATHER_FUNCTION = {
  name: "weather",
  description: "Of the next days.",
  parameters: { type: "object", properties: { city: { type: "string" }, days: { type: "integer" } }, required: ["city", "days"] },
};
const WEATHER = { type: "function", function: WEATHER_FUNCTION } as const satisfies OpenAI.ChatCompletionFunctionTool;

const whyNot = await whyNoLlama();

describe("OpenAI's own client", () => {
  let cluster: TestCluster;
  let shape: ModelShape;
  const real: LlamaServer[] = [];
  /** At the endpoint of a machine without models. */
  let client: OpenAI;
  let key: { baseURL: string; apiKey: string };

  beforeAll(async () => {
    shape = await startModelShape("llamacpp", { models: [{ id: "scripted" }], slots: 1 });
    const endpoints = [{ name: "scripted", url: shape.url }];
    if (whyNot === undefined) {
      const some = { contextTokens: CONTEXT_TOKENS, slots: 2 };
      real.push(await startLlamaServer({ ...some, model: CHAIN }));
      real.push(await startLlamaServer({ ...some, model: { ...CHAIN, name: EMBED }, embeddings: true }));
      real.push(await startLlamaServer({ ...some, model: PACED }));
      endpoints.push(...real.map(({ url, model }) => ({ name: model, url })));
    }
    cluster = await startCluster();
    await cluster.addWorker("rig", { models: { endpoints } });
    const laptop = await nodeEndpoint(await cluster.addWorker("laptop", {}));
    key = { baseURL: `${laptop.url}/v1`, apiKey: laptop.key };
    client = new OpenAI({ ...key, maxRetries: 0 });
    const names = ["scripted", ...real.map(({ model }) => model)];
    const seen = async (): Promise<true | undefined> => {
      const listed = new Set((await client.models.list()).data.map(({ id }) => id));
      return names.every((name) => listed.has(name)) || undefined;
    };
    await until("all models", seen, FOUND_MS);
  }, 120_000);
  beforeEach(() => void Object.assign(shape.settings, { mode: "ok", tokensPerSecond: 100_000, firstTokenMs: 0 }));
  afterAll(async () => {
    await cluster?.end();
    await shape?.stop();
    for (const server of real) await server.stop();
  }, TEST_MS);

  const thrown = async (asked: Promise<unknown>): Promise<APIError> => {
    const error = await asked.then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(error).toBeInstanceOf(APIError);
    return error as APIError;
  };
  const chunksOf = async <T>(stream: AsyncIterable<T>): Promise<T[]> => {
    const chunks: T[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    return chunks;
  };

  test("lists models and finds one of them, at a node and at the coordinator", async () => {
    for (const one of [client, new OpenAI({ baseURL: `${cluster.url}/v1`, apiKey: cluster.token })]) {
      const listed: string[] = [];
      for await (const model of one.models.list()) listed.push(model.id);
      expect(listed).toEqual(expect.arrayContaining(["auto", "scripted"]));
      expect(await one.models.retrieve("scripted")).toMatchObject({ id: "scripted", object: "model", owned_by: "rig" });
      expect(await thrown(one.models.retrieve("a/b%c"))).toBeInstanceOf(NotFoundError);
    }
  });

  test("maps refusals to its own classes", async () => {
    const chat = (model: string, more: object = {}): Promise<unknown> =>
      client.chat.completions.create({ model, messages: [...MESSAGES], ...more });
    const wrong = new OpenAI({ ...key, apiKey: "ocm_wrong", maxRetries: 0 });
    expect(await thrown(wrong.models.list())).toBeInstanceOf(AuthenticationError);
    const atCoordinator = new OpenAI({ baseURL: `${cluster.url}/v1`, apiKey: "wrong", maxRetries: 0 });
    expect(await thrown(atCoordinator.models.list())).toBeInstanceOf(AuthenticationError);
    const unknown = await thrown(chat("scriptd"));
    expect(unknown).toBeInstanceOf(NotFoundError);
    expect(unknown).toMatchObject({ status: 404, code: "model_not_found", message: expect.stringContaining("scripted") as string });
    const address = await thrown(chat("http://10.0.0.1/v1"));
    expect(address).toBeInstanceOf(BadRequestError);
    expect(address).toMatchObject({ type: "invalid_request_error" });
    const page = new OpenAI({ ...key, maxRetries: 0, defaultHeaders: { origin: "https://evil.example" } });
    expect(await thrown(page.models.list())).toBeInstanceOf(PermissionDeniedError);
    expect(await thrown(client.completions.create({ model: "scripted", prompt: "Hello?" }))).toBeInstanceOf(NotFoundError);
    const unable = await thrown(client.embeddings.create({ model: "scripted", input: "one" }));
    expect([unable.status, unable.code]).toEqual([400, "unsupported"]);
    const large = await thrown(chat("scripted", { messages: [{ role: "user", content: "x".repeat(17 * 1024 * 1024) }] }));
    expect([large.status, large.code]).toEqual([413, "request_too_large"]);
    const long = await thrown(chat("scripted", { messages: [{ role: "user", content: "word ".repeat(20_000) }] }));
    expect(long).toBeInstanceOf(BadRequestError);
    expect(long).toMatchObject({ code: "context_length_exceeded", message: expect.stringContaining("8192") as string });
  });

  test("a server that fails is an InternalServerError, which the client tries again by itself", async () => {
    shape.settings.mode = "error";
    const failed = await thrown(client.chat.completions.create({ model: "scripted", messages: [...MESSAGES] }));
    expect(failed).toBeInstanceOf(InternalServerError);
    expect(failed.code).toBe("node_lost");
    const patient = client
      .withOptions({ maxRetries: 2 })
      .chat.completions.create({ model: "scripted", messages: [...MESSAGES], stream: true });
    await until("it was asked again", () => shape.questions.length >= 2 || undefined, FOUND_MS);
    shape.settings.mode = "ok";
    const chunks = await chunksOf(await patient);
    expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join("")).toBe(WORDS);
  });

  test("hears of an answer that is cut, and never takes it for whole", async () => {
    Object.assign(shape.settings, { mode: "dieMidStream", tokensPerSecond: 50 });
    const stream = await client.chat.completions.create({ model: "scripted", messages: [...MESSAGES], stream: true });
    const said: string[] = [];
    const error = await thrown(
      (async () => {
        for await (const { choices } of stream) said.push(choices[0]?.delta.content ?? "");
      })(),
    );
    expect(said.join("")).toBe("alpha bravo");
    expect(error).toMatchObject({ code: "node_lost", type: "server_error" });
  });

  test("leaves, and the server hears of it: a stream, an answer that comes whole, and one that waits", async () => {
    Object.assign(shape.settings, { mode: "endless", tokensPerSecond: 100 });
    const stream = await client.chat.completions.create({ model: "scripted", messages: [...MESSAGES], stream: true });
    for await (const chunk of stream) {
      if ((chunk.choices[0]?.delta.content ?? "") === "") continue;
      stream.controller.abort();
    }
    const first = shape.questions.at(-1);
    await until("the server has heard of it", () => first?.closedAt, FOUND_MS);
    expect(first?.aborted).toBe(true);

    const [leaving, behind] = [new AbortController(), new AbortController()];
    const ask = ({ signal }: AbortController): Promise<unknown> =>
      client.chat.completions.create({ model: "scripted", messages: [...MESSAGES] }, { signal });
    const before = shape.questions.length;
    const whole = thrown(ask(leaving));
    await until("it is being answered", () => shape.questions.length > before || undefined, FOUND_MS);
    const waiting = thrown(ask(behind));
    behind.abort();
    expect(await waiting).toBeInstanceOf(APIUserAbortError);
    leaving.abort();
    expect(await whole).toBeInstanceOf(APIUserAbortError);
    const second = shape.questions.at(-1);
    await until("the server has heard of that", () => second?.closedAt, FOUND_MS);
    expect(shape.questions.length).toBe(before + 1);
  });

  test("one user beyond the line's length is a RateLimitError with a Retry-After, and the others are answered in the end", async () => {
    const requests = Array.from({ length: ONE_USERS_MAX + 3 }, () =>
      client.chat.completions.create({ model: "scripted", messages: [...MESSAGES] }).catch((error: unknown) => error),
    );
    shape.settings.firstTokenMs = 30;
    const answers = await Promise.all(requests);
    const refused = answers.filter((answer) => answer instanceof Error);
    for (const one of refused) {
      expect(one).toBeInstanceOf(RateLimitError);
      expect(one).toMatchObject({ code: "overloaded", type: "rate_limit_error" });
      expect(Number((one as APIError).headers?.get("retry-after"))).toBeGreaterThan(0);
    }
    expect(refused.length).toBeGreaterThan(0);
    expect(answers.length - refused.length).toBeGreaterThanOrEqual(ONE_USERS_MAX);
  });

  test("asks the Responses API of a scripted server, whole and as a stream", async () => {
    const whole = await client.responses.create({ model: "scripted", input: "Hello?" });
    expect(whole).toMatchObject({ status: "completed", output_text: WORDS });
    const events = await chunksOf(await client.responses.create({ model: "scripted", input: "Hello?", stream: true }));
    expect(events.at(-1)).toMatchObject({ type: "response.completed" });
    expect(events.flatMap((event) => (event.type === "response.output_text.delta" ? [event.delta] : [])).join("")).toBe(WORDS);
  });

  describe.skipIf(whyNot !== undefined)(`with a real llama-server${whyNot === undefined ? "" : ` (skipped: ${whyNot})`}`, () => {
    const model = CHAIN.name;
    const text = chainText(CHAIN);
    const usage = { completion_tokens: CHAIN.words.length + 1, prompt_tokens: expect.any(Number) as number };

    test("chats, whole and as a stream, with and without usage", async () => {
      const whole = await client.chat.completions.create({ model, messages: [...MESSAGES] });
      expect(whole).toMatchObject({
        object: "chat.completion",
        usage,
        choices: [{ finish_reason: "stop", message: { role: "assistant", content: text } }],
      });
      const { response } = await client.chat.completions.create({ model, messages: [...MESSAGES] }).withResponse();
      expect([response.headers.get("x-cluster-node"), response.headers.get("x-cluster-model")]).toEqual(["rig", model]);
      const plain = await chunksOf(await client.chat.completions.create({ model, messages: [...MESSAGES], stream: true }));
      expect(plain.map(({ choices }) => choices[0]?.delta.content ?? "").join("")).toBe(text);
      expect(plain.every(({ choices, usage }) => choices.length === 1 && (usage ?? undefined) === undefined)).toBe(true);
      const counted = await chunksOf(
        await client.chat.completions.create({ model, messages: [...MESSAGES], stream: true, stream_options: { include_usage: true } }),
      );
      expect(counted.at(-1)).toMatchObject({ choices: [], usage });
    });

    test("with its own helper for streams", async () => {
      const runner = client.chat.completions.stream({ model, messages: [...MESSAGES] });
      expect(await runner.finalContent()).toBe(text);
    });

    test("uses tools, in two turns by hand, and with its own helper", async () => {
      const messages: OpenAI.ChatCompletionMessageParam[] = [...MESSAGES];
      const first = (await client.chat.completions.create({ model, messages, tools: [WEATHER] })).choices[0];
      expect(first?.finish_reason).toBe("tool_calls");
      const call = first?.message.tool_calls?.[0] as OpenAI.ChatCompletionMessageFunctionToolCall;
      expect(JSON.parse(call.function.arguments)).toEqual({ city: text, days: 0 });
      messages.push(first?.message as OpenAI.ChatCompletionMessage, { role: "tool", tool_call_id: call.id, content: "Rain." });
      const second = (await client.chat.completions.create({ model, messages, tools: [WEATHER] })).choices[0];
      expect([second?.finish_reason, second?.message.content?.trim()]).toEqual(["stop", text.trim()]);

      const asked: unknown[] = [];
      const runner = client.chat.completions.runTools({
        ...{ model, messages: [...MESSAGES], stream: true },
        tools: [{ ...WEATHER, function: { ...WEATHER_FUNCTION, function: (args: string) => (asked.push(JSON.parse(args)), "Rain.") } }],
      });
      expect((await runner.finalContent())?.trim()).toBe(text.trim());
      expect(asked).toEqual([{ city: text, days: 0 }]);
    });

    test("holds an answer to a schema", async () => {
      const schema = {
        type: "object",
        properties: { title: { type: "string" }, count: { type: "integer" } },
        required: ["title", "count"],
      };
      const answer = await client.chat.completions.create({
        ...{ model, messages: [...MESSAGES] },
        response_format: { type: "json_schema", json_schema: { name: "book", strict: true, schema } },
      });
      expect(JSON.parse(answer.choices[0]?.message.content ?? "")).toEqual({ title: text, count: 0 });
    });

    test("makes embeddings, one and several, in both encodings", async () => {
      const input = ["one text", "another text"];
      // The client asks for base64 unless told otherwise, and decodes it.
      const packed = await client.embeddings.create({ model: EMBED, input });
      const plain = await client.embeddings.create({ model: EMBED, input, encoding_format: "float" });
      expect(packed.data.map(({ embedding }) => embedding.length)).toEqual([CHAIN.width, CHAIN.width]);
      plain.data[0]?.embedding.forEach((value, at) => expect(packed.data[0]?.embedding[at]).toBeCloseTo(value, 4));
      expect((await client.embeddings.create({ model: "auto:embed", input: "one text" })).data).toHaveLength(1);
    });

    test("asks its Responses API, where it has one", async () => {
      const asked = await client.responses.create({ model, input: "Hello?" }).catch((error: unknown) => error);
      if (asked instanceof APIError) return expect([asked.status, asked.code]).toEqual([400, "unsupported"]);
      expect((asked as OpenAI.Responses.Response).output_text.trim()).toBe(text.trim());
      const events = await chunksOf(await client.responses.create({ model, input: "Hello?", stream: true }));
      expect(events.at(-1)).toMatchObject({ type: "response.completed" });
    });

    test("a prompt that is longer than its context is a BadRequestError, whoever notices", async () => {
      // The estimate takes this to fit; the model has a token for each character.
      const content = "word ".repeat(1_000);
      for (const stream of [false, true]) {
        const refused = await thrown(
          client.chat.completions.create({ model, messages: [{ role: "user", content }], stream, max_tokens: 16 }),
        );
        expect(refused).toBeInstanceOf(BadRequestError);
        expect(refused.code).toBe("context_length_exceeded");
      }
    });

    test("leaves a stream, and its slot is free for the next one", async () => {
      const paced = real.find((one) => one.model === PACED.name) as LlamaServer;
      const busy = async (): Promise<number> =>
        ((await (await fetch(`${paced.url}/slots`)).json()) as { is_processing: boolean }[]).filter((slot) => slot.is_processing).length;
      const stream = await client.chat.completions.create({ model: PACED.name, messages: [...MESSAGES], stream: true });
      let words = 0;
      for await (const _chunk of stream) if ((words += 1) > 5) break;
      expect(words).toBe(6);
      await until("no slot is in use", async () => (await busy()) === 0 || undefined, FOUND_MS);
    });

    test("hears of a server that is killed in the middle of a word", async () => {
      const paced = real.find((one) => one.model === PACED.name) as LlamaServer;
      const stream = await client.chat.completions.create({ model: PACED.name, messages: [...MESSAGES], stream: true });
      let words = 0;
      const error = await thrown(
        (async () => {
          for await (const _chunk of stream) if ((words += 1) === 5) process.kill(paced.pid, "SIGKILL");
        })(),
      );
      expect(error.code).toBe("node_lost");
    });
  });
});
