/**
 * A model server that misbehaves in every way that we know of, on one node; who asks is on another one. Whatever comes, who asked is told
 * in OpenAI's words, no daemon takes in more than it can hold, and another stream goes on. Then the same from the other side: requests.
 */
import { createServer, type Server } from "node:http";
import { connect, type AddressInfo } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { rssMiB } from "../../scripts/bench/usage.ts";
import { BAD_WAYS, startBadModelServer, type BadModelServer, type BadWay } from "../support/bad-model-server.ts";
import { startCluster, until, type TestCluster, type TestDaemon } from "../support/daemon.ts";
import { startModelShape, type ModelShape } from "../support/model-shapes.ts";
import { nodeEndpoint, type NodeEndpoint, type Told } from "../support/node-endpoint.ts";

const TEST_MS = 120_000;
/** What a daemon may grow by while a server pours 1 GiB at it: some answers that are held up to their limits, and garbage not yet collected. */
const GROWTH_MIB_MAX = 320;
const SAMPLE_MS = 20;
const SOON_MS = 10_000;
const MIB = 1024 * 1024;
/** breaker.ts: FAILURES_MAX, and OPEN_MS. */
const FAILURES_MAX = 5;
const OPEN_S = 30;

type Refused = { readonly error: { readonly message: string; readonly type: string; readonly code: string; readonly param: unknown } };

describe("a model server that misbehaves", () => {
  let cluster: TestCluster;
  let bad: BadModelServer;
  let well: ModelShape;
  let canary: Server;
  let strayed = 0;
  const daemons: Record<string, TestDaemon> = {};
  let laptop: NodeEndpoint;

  beforeAll(async () => {
    canary = createServer((_request, response) => {
      strayed += 1;
      response.end();
    }).listen(0, "127.0.0.1");
    await until("the canary", () => canary.address() ?? undefined);
    bad = await startBadModelServer(`http://127.0.0.1:${(canary.address() as AddressInfo).port}`);
    well = await startModelShape("ollama", { models: [{ id: "steady", contextTokens: 4_096 }], mode: "endless", tokensPerSecond: 50 });
    cluster = await startCluster();
    const endpoints = [{ name: "bad", url: bad.url, kind: "openai" }];
    daemons["lead"] = cluster.lead;
    daemons["bad"] = await cluster.addWorker("bad", { models: { endpoints } });
    daemons["well"] = await cluster.addWorker("well", { models: { endpoints: [{ name: "well", url: well.url }] } });
    daemons["laptop"] = await cluster.addWorker("laptop", {});
    laptop = await nodeEndpoint(daemons["laptop"]);
    const all = [...BAD_WAYS, "steady"];
    await until("all models", async () => {
      const listed = new Set(await laptop.listed());
      return all.every((id) => listed.has(id)) || undefined;
    });
  }, TEST_MS);
  afterAll(async () => {
    await cluster?.end();
    await bad?.stop();
    await well?.stop();
    canary?.close();
  }, TEST_MS);

  const bodyFor = (model: string, stream: boolean): object =>
    model.endsWith("embed") || model.includes("embed-")
      ? { model, input: "x" }
      : { model, stream, messages: [{ role: "user", content: model }] };
  const pathFor = (model: string): string => (model.includes("embed") ? "/v1/embeddings" : "/v1/chat/completions");
  const ask = (model: string, stream: boolean, more?: RequestInit): Promise<Told> =>
    laptop.ask(pathFor(model), bodyFor(model, stream), more);

  /** The most that each daemon grew by meanwhile, and how a stream from another node fared. */
  async function beside<T>(what: string, work: () => Promise<T>): Promise<T> {
    const before = await sizes();
    const most = { ...before };
    const leaving = new AbortController();
    const stream = await laptop.open("/v1/chat/completions", bodyFor("steady", true), { signal: leaving.signal });
    expect(stream.status).toBe(200);
    let heard = "";
    let isOver = false;
    let [last, longestMs] = [performance.now(), 0];
    const listening = (async () => {
      for await (const piece of stream.body as AsyncIterable<Uint8Array>) {
        longestMs = Math.max(longestMs, performance.now() - last);
        last = performance.now();
        heard = (heard + Buffer.from(piece).toString()).slice(-10_000);
      }
    })().catch(() => undefined);
    const sampling = (async () => {
      while (!isOver) {
        for (const [name, mib] of Object.entries(await sizes())) most[name] = Math.max(most[name] ?? 0, mib);
        await pause(SAMPLE_MS);
      }
    })();
    try {
      return await work();
    } finally {
      isOver = true;
      await sampling;
      // It goes on behind what happened.
      heard = "";
      await until("more of the other stream", () => heard.includes('"content"') || undefined, SOON_MS);
      expect(heard).not.toContain('"error"');
      leaving.abort();
      await listening;
      const grown = Object.fromEntries(Object.entries(most).map(([name, mib]) => [name, Math.round(mib - (before[name] ?? 0))]));
      const said = Object.entries(grown).map(([name, mib]) => `${name} +${mib}`);
      process.stdout.write(`models: ${what}: ${said.join(", ")} MiB; the other stream's longest pause ${Math.round(longestMs)} ms\n`);
      for (const [name, mib] of Object.entries(grown))
        expect({ what, name, isBounded: mib < GROWTH_MIB_MAX }).toEqual({ what, name, isBounded: true });
    }
  }
  const sizes = async (): Promise<Record<string, number>> =>
    Object.fromEntries(await Promise.all(Object.entries(daemons).map(async ([name, { pid }]) => [name, await rssMiB(pid)] as const)));

  const errorIn = (json: unknown): Refused["error"] => (json as Refused).error;
  const expectError = (told: Told, status = 502, code = "node_lost"): void => {
    expect({ status: told.status, text: told.text.slice(0, 300) }).toMatchObject({ status });
    expect(told.headers.get("content-type")).toBe("application/json");
    const type = status < 500 ? "invalid_request_error" : "server_error";
    expect(errorIn(told.json)).toEqual({ message: expect.any(String) as string, type, code, param: null });
    expect(errorIn(told.json).message.length).toBeLessThan(1_000);
  };
  /** A stream that was begun ends with an error event, and without the mark of a whole one. */
  const expectCut = (told: Told): void => {
    expect(told.status).toBe(200);
    const last = told.text.trimEnd().split("\n\n").at(-1) ?? "";
    expect(errorIn(JSON.parse(last.replace("data: ", "")))).toMatchObject({ code: "node_lost", type: "server_error" });
    expect(told.text.slice(-1_000)).not.toContain("[DONE]");
  };

  const BEGINS: readonly BadWay[] = ["closes-late", "ends-late", "bad-chunks-late"];
  const ENDS = BAD_WAYS.filter((way) => !/^(floods|stalls|page-again)/.test(way));

  test.each(ENDS)("that answers with %s", async (way) => {
    for (const stream of [false, true]) {
      const told = await ask(way, stream);
      // Where its end is heard together with its beginning nobody has been told of a beginning.
      if (stream && BEGINS.includes(way) && told.status === 200) expectCut(told);
      else expectError(told);
    }
    await until("its connections are closed", () => bad.questions.every(({ isClosed }) => isClosed) || undefined, SOON_MS);
    expect(strayed).toBe(0);
  });

  const FLOODS = BAD_WAYS.filter((way) => way.startsWith("floods"));
  test.each(FLOODS)("that %s is ended at a limit, and no daemon holds it", { timeout: TEST_MS }, async (way) => {
    for (const stream of way.includes("embed") ? [false] : [false, true]) {
      const from = performance.now();
      const told = await beside(`${way}${stream ? ", streamed" : ""}`, async () => {
        const answer = await ask(way, stream);
        process.stdout.write(
          `models: ${way}: ${answer.status} with ${answer.text.length} bytes after ${Math.round(performance.now() - from)} ms\n`,
        );
        return answer;
      });
      if (told.status === 200) expectCut(told);
      else expectError(told);
    }
    await until("it notices", () => bad.questions.every(({ isClosed }) => isClosed) || undefined, SOON_MS);
    for (const { model, bytes } of bad.questions) expect({ model, isEnded: bytes < 1024 * MIB }).toEqual({ model, isEnded: true });
  });

  test.each(["stalls", "stalls-after-headers", "stalls-late"] as const)(
    "that %s is left by who leaves, and others are answered meanwhile",
    async (way) => {
      bad.heal("text");
      for (const stream of [false, true]) {
        const leaving = new AbortController();
        const asked = ask(way, stream, { signal: leaving.signal }).catch(() => undefined);
        const question = await until("it is asked", () => bad.questions.find((one) => one.model === way && !one.isClosed), SOON_MS);
        expect((await ask("text", stream)).status).toBe(200);
        leaving.abort();
        await asked;
        await until("its server hears of it", () => question.isClosed || undefined, SOON_MS);
      }
    },
  );

  const AGAIN: BadWay = "page-again";
  test("is left alone after five failures in a row, and who asks is told for how long", async () => {
    // Another prompt each time: one that is repeated would show no more than the first.
    const askAgain = (at: number): Promise<Told> =>
      laptop.ask("/v1/chat/completions", { ...bodyFor(AGAIN, true), messages: [{ role: "user", content: `question ${at}` }] });
    for (let at = 0; at < FAILURES_MAX; at += 1) expectError(await askAgain(at));
    const asked = bad.questions.length;
    const told = await askAgain(FAILURES_MAX);
    expectError(told, 503);
    expect(errorIn(told.json).message).toMatch(/^page-again@bad failed again and again, and is left alone for \d+ s$/);
    expect(Number(told.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(Number(told.headers.get("retry-after"))).toBeLessThanOrEqual(OPEN_S);
    expect(bad.questions).toHaveLength(asked);
    // Another model of the same server is asked as before.
    bad.heal("text");
    expect((await ask("text", true)).text).toContain("[DONE]");
  });

  test("a request that is wrong is refused before any server is asked", async () => {
    const asked = bad.questions.length + well.questions.length;
    const long = { model: "steady", messages: [{ role: "user", content: "word ".repeat(20_000) }] };
    const chat = (more: object): object => ({ ...bodyFor("steady", false), ...more });
    const unknown = await laptop.ask("/v1/chat/completions", chat({ model: "stedy" }));
    expectError(unknown, 404, "model_not_found");
    expect(errorIn(unknown.json).message).toContain("steady");
    const refused: [string, object | string, number, string][] = [
      ["a prompt beyond every context", long, 400, "context_length_exceeded"],
      ...["base_url", "api_base", "api_key", "endpoint", "url"].map((name): [string, object, number, string] => [
        name,
        chat({ [name]: "http://10.0.0.1/v1" }),
        400,
        "bad_request",
      ]),
      ["an address for a model", chat({ model: "http://10.0.0.1/v1" }), 400, "bad_request"],
      ["17 MiB", chat({ x: "x".repeat(17 * MIB) }), 413, "request_too_large"],
      ["deep", `{"model":"steady","messages":${"[".repeat(10_000)}${"]".repeat(10_000)}}`, 400, "bad_request"],
      ["no JSON", '{"model":"steady","messages":[', 400, "bad_request"],
      ["a list", "[]", 400, "bad_request"],
      ["no model", { messages: [] }, 400, "bad_request"],
      ["a model that is no text", chat({ model: ["steady"] }), 400, "bad_request"],
    ];
    for (const [what, body, status, code] of refused) {
      const told = await laptop.ask("/v1/chat/completions", body);
      expect({ what, status: told.status, code: errorIn(told.json).code }).toEqual({ what, status, code });
      expectError(told, status, code);
    }
    expect(bad.questions.length + well.questions.length).toBe(asked);
  });

  test("a header does not say where a request goes", async () => {
    bad.heal("text");
    const url = `http://127.0.0.1:${(canary.address() as AddressInfo).port}`;
    const headers = { "x-endpoint": url, "x-model": "page", "x-node": "well", "x-on": "well", "x-base-url": url, "x-forwarded-host": url };
    const told = await laptop.ask("/v1/chat/completions", bodyFor("text", false), { headers });
    expect([told.status, told.headers.get("x-cluster-node"), told.headers.get("x-cluster-model")]).toEqual([200, "bad", "text"]);
    expect(strayed).toBe(0);
  });

  test("odd values of known fields are the server's to judge, and end nothing", async () => {
    bad.heal("text");
    for (const more of [
      { messages: "hello" },
      { messages: null },
      { messages: { role: "user" } },
      { messages: [null, 1, "x", [], { role: 7, content: { a: 1 } }] },
      { stream: "yes" },
      { stream: 1 },
      { tools: "all" },
      { max_tokens: -1e308 },
      { max_tokens: "many" },
      { stream_options: "all" },
      { service_tier: {} },
      JSON.parse('{"__proto__":{"stream":true},"constructor":1}') as object,
    ]) {
      const told = await laptop.ask("/v1/chat/completions", { ...bodyFor("text", false), ...more });
      expect({ more, status: told.status, object: (told.json as { object?: string }).object }).toEqual({
        more,
        status: 200,
        object: "chat.completion",
      });
    }
  });

  test("16 MiB are taken", async () => {
    bad.heal("text");
    const rest = JSON.stringify({ ...bodyFor("text", false), x: "" }).length;
    const told = await laptop.ask("/v1/chat/completions", { ...bodyFor("text", false), x: "x".repeat(16 * MIB - rest) });
    expect(told.status, told.text.slice(0, 300)).toBe(200);
  });

  test("a request that comes byte by byte takes no more memory than its bytes", { timeout: TEST_MS }, async () => {
    bad.heal("text");
    const first = JSON.stringify({ ...bodyFor("text", false), x: "" }).slice(0, -2);
    const head = [
      "POST /v1/chat/completions HTTP/1.1",
      `host: ${new URL(laptop.url).host}`,
      `authorization: Bearer ${laptop.key}`,
      "transfer-encoding: chunked",
      "connection: close",
    ].join("\r\n");
    const chunk = (words: string): string => `${words.length.toString(16)}\r\n${words}\r\n`;
    const said = `${head}\r\n\r\n${chunk(first)}${chunk("x").repeat(2 * MIB)}${chunk('"}')}${chunk("")}`;
    const heard = await beside("a request byte by byte", async () => {
      const socket = connect(Number(new URL(laptop.url).port), "127.0.0.1");
      socket.write(said);
      let answer = "";
      for await (const piece of socket as AsyncIterable<Buffer>) answer += piece.toString();
      return answer;
    });
    expect(heard).toMatch(/^HTTP\/1\.1 200 /);
  });

  test.each([
    ["400,000 messages", `{"model":"text","messages":[${'{"role":"user","content":"x"},'.repeat(400_000)}{}]}`],
    ["five million empty lists", `{"model":"text","messages":[${"[],".repeat(5_000_000)}{}]}`],
    ["a million fields", `{"model":"text","messages":[{${Array.from({ length: 1_000_000 }, (_, at) => `"${at}":0`).join()}}]}`],
  ])("a request of %s is refused and holds up nobody", async (what, body) => {
    const told = await beside(what, () => laptop.ask("/v1/chat/completions", body));
    expectError(told, 400, "bad_request");
  });
});
