import { once } from "node:events";
import { createServer, request, type IncomingMessage, type Server } from "node:http";
import { connect, type AddressInfo } from "node:net";
import { PassThrough, Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { afterEach, describe, expect, test, vi } from "vitest";
import { lent } from "../core/models/fixtures.ts";
import { RouteRefusal, type ModelRequest, type ModelRouter, type RoutedAnswer } from "../models/models.ts";
import { silentLog } from "../system/log.ts";
import { openModelFront } from "./model-front.ts";

const SOON = { timeout: 5_000, interval: 2 };
const MIB = 1024 * 1024;

interface Told {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
  // oxlint-disable-next-line typescript/no-explicit-any -- what an answer holds is for expect to judge
  readonly json: any;
}

interface Stage {
  readonly port: number;
  readonly asked: { request: ModelRequest; signal: AbortSignal }[];
  answer: () => Promise<RoutedAnswer>;
  admit: () => void;
  list: ModelRouter["list"];
  readonly errors: unknown[];
  ask(path: string, body?: unknown, more?: { method?: string; headers?: Record<string, string> }): Promise<Told>;
}

let server: Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

const told = (said: string | Readable, more: Partial<RoutedAnswer> = {}): RoutedAnswer => ({
  ...{ status: 200, contentType: "application/json", attempts: 1, node: "gaming", model: "m" },
  body: typeof said === "string" ? Readable.from([Buffer.from(said)]) : said,
  ...more,
});

async function stage(): Promise<Stage> {
  const asked: Stage["asked"] = [];
  const errors: unknown[] = [];
  const log = { ...silentLog, debug: () => undefined, error: (said: unknown) => void errors.push(said) } as unknown as typeof silentLog;
  const made: Stage = {
    ...{ asked, errors, port: 0, admit: () => undefined },
    answer: async () => told("{}"),
    list: async () => [lent("gaming", "m"), lent("studio", "m"), lent("studio", "qwen/家:8b")],
    async ask(path, body, { method = body === undefined ? "GET" : "POST", headers = {} } = {}) {
      const sent = request({ port: made.port, path, method, headers, agent: false });
      sent.on("error", () => undefined);
      const sending = body === undefined ? undefined : typeof body === "string" || body instanceof Buffer ? body : JSON.stringify(body);
      sent.end(sending);
      const [answer] = (await once(sent, "response")) as [IncomingMessage];
      const said = await text(answer);
      return {
        status: answer.statusCode ?? 0,
        headers: answer.headers,
        text: said,
        json: said === "" ? undefined : (JSON.parse(said) as unknown),
      };
    },
  };
  const router: ModelRouter = {
    list: () => made.list(),
    answer: (request, signal) => (asked.push({ request, signal }), made.answer()),
  };
  const admit = (): { token: string } => (made.admit(), { token: "t1" });
  server = createServer(openModelFront({ router, admit, log }).serve).listen(0, "127.0.0.1");
  await once(server, "listening");
  return Object.assign(made, { port: (server.address() as AddressInfo).port });
}

const CHAT = { model: "m", messages: [] };

describe("models", () => {
  test("are listed with those who have them, each name once, and found by it", async () => {
    const { ask } = await stage();
    const { status, json } = await ask("/v1/models");
    const model = { object: "model", created: 0 };
    const ids = [
      { id: "auto", ...model, owned_by: "cluster" },
      { id: "m", ...model, owned_by: "gaming,studio" },
      { id: "qwen/家:8b", ...model, owned_by: "studio" },
    ];
    expect([status, json]).toEqual([200, { object: "list", data: ids }]);
    for (const name of ["qwen/%E5%AE%B6:8b", "qwen%2F%E5%AE%B6%3A8b"]) expect((await ask(`/v1/models/${name}`)).json).toEqual(ids[2]);
    for (const name of ["n", "%", "%ff", ""]) {
      const unknown = await ask(`/v1/models/${name}`);
      expect([unknown.status, unknown.json]).toMatchObject([404, { error: { code: "model_not_found", type: "invalid_request_error" } }]);
    }
  });

  test("are none where nobody lends any", async () => {
    const made = await stage();
    made.list = async () => [];
    expect((await made.ask("/v1/models")).json).toEqual({ object: "list", data: [] });
  });
});

describe("a question", () => {
  test("that may wait, in OpenAI's word, waits behind those of people", async () => {
    const { ask, asked } = await stage();
    await ask("/v1/chat/completions", { ...CHAT, service_tier: "flex" });
    expect(asked[0]?.request.lane).toBe("batch");
  });

  test.each(["/chat/completions", "/responses", "/embeddings"] as const)("goes to the router as it is: %s", async (path) => {
    const { ask, asked } = await stage();
    const { status, headers, json } = await ask(
      `/v1${path}?api-version=1`,
      { ...CHAT, x: "家" },
      { headers: { "x-openclaw-session-key": "s" } },
    );
    expect([status, json]).toEqual([200, {}]);
    expect(asked[0]?.request).toEqual({ path, body: { ...CHAT, x: "家" }, asker: { token: "t1" }, lane: "interactive", session: "s" });
    expect(headers).toMatchObject({
      "x-cluster-node": "gaming",
      "x-cluster-model": "m",
      "x-cluster-attempts": "1",
      "cache-control": "no-store",
    });
    await ask(`/v1${path}`, CHAT, { headers: { "x-openclaw-session-key": "s".repeat(1_000) } });
    expect(asked[1]?.request.session).toHaveLength(256);
  });

  test.each([
    ["none", ""],
    ["no JSON", "{"],
    ["a list", []],
    ["null", "null"],
    ["a text", '"m"'],
    ["of too many pieces", `{"model":"m","messages":[${"{},".repeat(131_072)}{}]}`],
    ["nested too deep", `{"model":"m","x":${"[".repeat(5_000)}${"]".repeat(5_000)}}`],
    ["a compressed one", Buffer.from([0x1f, 0x8b, 8, 0])],
  ])("that is %s is refused in OpenAI's words", async (_what, body) => {
    const { ask, asked } = await stage();
    const { status, headers, json } = await ask("/v1/chat/completions", body);
    expect([status, json]).toMatchObject([400, { error: { type: "invalid_request_error", code: "bad_request", param: null } }]);
    expect(headers["content-type"]).toBe("application/json");
    expect(asked).toEqual([]);
  });

  test("that is too large is told so, with its length and without, and not read to its end", async () => {
    const { ask, asked } = await stage();
    const large = `{"model":"${"x".repeat(17 * MIB)}"}`;
    for (const headers of [{}, { "transfer-encoding": "chunked" }]) {
      const refused = await ask("/v1/chat/completions", large, { headers });
      expect([refused.status, refused.json]).toMatchObject([413, { error: { code: "request_too_large" } }]);
      expect(refused.headers.connection).toBe("close");
    }
    expect(asked).toEqual([]);
  });

  test("beyond what is in memory already is asked to come again, and a small one is not", async () => {
    const made = await stage();
    const waiting: ((answer: RoutedAnswer) => void)[] = [];
    made.answer = () => new Promise((resolve) => waiting.push(resolve));
    const large = { ...CHAT, x: "x".repeat(15 * MIB) };
    const first = Array.from({ length: 4 }, () => made.ask("/v1/chat/completions", large));
    await vi.waitFor(() => expect(waiting).toHaveLength(4), SOON);
    const refused = await made.ask("/v1/chat/completions", large);
    expect([refused.status, refused.json, refused.headers["retry-after"]]).toMatchObject([429, { error: { code: "overloaded" } }, "2"]);
    const small = made.ask("/v1/chat/completions", CHAT);
    await vi.waitFor(() => expect(waiting).toHaveLength(5), SOON);
    for (const one of waiting) one(told("{}"));
    for (const one of [...first, small]) expect((await one).status).toBe(200);
    made.answer = async () => told("{}");
    expect((await made.ask("/v1/chat/completions", large)).status).toBe(200);
  });

  test("at another path, or by another way, is no question", async () => {
    const { ask } = await stage();
    expect((await ask("/v1/chat/completions")).status).toBe(405);
    for (const path of ["/v1/completions", "/v1/", "/v1/constructor", "/v1/models/pull", "/v1/chat/completions/"]) {
      const { status, json } = await ask(path, CHAT);
      expect([status, json]).toMatchObject([404, { error: { code: "unknown_url" } }]);
    }
  });

  test("without leave is refused before it is read", async () => {
    const made = await stage();
    made.admit = () => {
      throw new ClusterError("unauthorized", "This token is unknown.");
    };
    for (const body of [CHAT, { x: "x".repeat(8 * MIB) }]) {
      const { status, headers, json } = await made.ask("/v1/chat/completions", body);
      expect([status, json]).toMatchObject([
        401,
        { error: { type: "authentication_error", code: "unauthorized", message: "This token is unknown." } },
      ]);
      expect(headers["www-authenticate"]).toBe("Bearer");
    }
    made.admit = () => {
      throw new ClusterError("overloaded", "Too many wrong tokens.", { retryAfterMs: 1_500 });
    };
    const { status, headers, json } = await made.ask("/v1/models");
    expect([status, headers["retry-after"], json]).toMatchObject([429, "2", { error: { type: "rate_limit_error" } }]);
  });
});

describe("an answer", () => {
  test("says under which id it is in the book, and why that node gave it; a refusal too", async () => {
    const made = await stage();
    const why = "studio: loaded, first token expected in 120 ms; 3 others are slower";
    made.answer = async () => told("{}", { id: "abcdefg2", why });
    const answered = await made.ask("/v1/chat/completions", CHAT);
    expect(answered.headers).toMatchObject({ "x-cluster-request": "abcdefg2", "x-cluster-why": why, "x-cluster-node": "gaming" });
    made.answer = () => Promise.reject(new RouteRefusal(502, "node_lost", "gone", { attempts: 1, id: "abcdefg3", why }));
    const refused = await made.ask("/v1/chat/completions", CHAT);
    expect(refused.headers).toMatchObject({ "x-cluster-request": "abcdefg3", "x-cluster-why": why });
    // Of an older build, or of one that says more than a header takes.
    made.answer = async () => told("{}");
    const silent = await made.ask("/v1/chat/completions", CHAT);
    expect(Object.keys(silent.headers)).not.toContain("x-cluster-request");
    expect(Object.keys(silent.headers)).not.toContain("x-cluster-why");
    made.answer = async () => told("{}", { id: "a\r\nset-cookie: a=b", why: `\u5bb6 ${"x".repeat(9_000)}` });
    const odd = await made.ask("/v1/chat/completions", CHAT);
    expect([odd.status, odd.headers["set-cookie"], odd.headers["x-cluster-request"]]).toEqual([200, undefined, "a??set-cookie: a=b"]);
    expect(odd.headers["x-cluster-why"]).toMatch(/^\? x{500}/);
    expect(odd.headers["x-cluster-why"]?.length).toBeLessThan(1_000);
  });

  test("that is refused says why, where and when to come again", async () => {
    const made = await stage();
    made.answer = () => Promise.reject(new RouteRefusal(503, "node_lost", "all are down", { retryAfterMs: 10, attempts: 3 }));
    const { status, headers, json } = await made.ask("/v1/chat/completions", CHAT);
    expect([status, json]).toEqual([503, { error: { message: "all are down", type: "server_error", param: null, code: "node_lost" } }]);
    expect(headers).toMatchObject({ "retry-after": "1", "x-cluster-attempts": "3" });
  });

  test("that fails of what nobody foresaw says nothing of it, and the log does", async () => {
    const made = await stage();
    made.answer = () => Promise.reject(new TypeError("secret"));
    const { status, text: said, json } = await made.ask("/v1/chat/completions", CHAT);
    expect([status, json]).toMatchObject([500, { error: { type: "server_error", code: "internal" } }]);
    expect(said).not.toContain("secret");
    expect(made.errors).toHaveLength(1);
  });

  test("is JSON or a stream of events, whatever its node says", async () => {
    const made = await stage();
    const typeOf = async (contentType: string, model = "m"): Promise<unknown> => {
      made.answer = async () => told("{}", { contentType, model });
      const { headers } = await made.ask("/v1/chat/completions", CHAT);
      expect(headers["x-content-type-options"]).toBe("nosniff");
      return headers["content-type"];
    };
    expect(await typeOf("text/event-stream; charset=utf-8")).toBe("text/event-stream");
    for (const type of ["application/json", "text/html", "x\r\nset-cookie: a=b", ""]) expect(await typeOf(type)).toBe("application/json");
    expect(await typeOf("application/json", "家 \ud800\r\n")).toBe("application/json");
  });

  test("whose reader leaves is ended: while it is waited for, while it comes, and before it has begun to", async () => {
    const made = await stage();
    const leave = async (until: () => void): Promise<void> => {
      const sent = request({ port: made.port, path: "/v1/chat/completions", method: "POST", agent: false });
      sent.on("error", () => undefined).on("response", (answer) => answer.on("error", () => undefined).resume());
      sent.end(JSON.stringify(CHAT));
      await vi.waitFor(until, SOON);
      sent.destroy();
    };
    made.answer = () => new Promise(() => undefined);
    await leave(() => expect(made.asked).toHaveLength(1));
    await vi.waitFor(() => expect(made.asked[0]?.signal.aborted).toBe(true), SOON);

    const body = new PassThrough();
    let given = 0;
    const writing = setInterval(() => body.write(`data: ${given++}\n\n`), 2);
    made.answer = async () => told(body, { contentType: "text/event-stream" });
    await leave(() => expect(given).toBeGreaterThan(5));
    await vi.waitFor(() => expect(body.destroyed).toBe(true), SOON);
    clearInterval(writing);

    const late = Promise.withResolvers<RoutedAnswer>();
    const unread = new PassThrough();
    made.answer = () => late.promise;
    await leave(() => expect(made.asked).toHaveLength(3));
    await vi.waitFor(() => expect(made.asked[2]?.signal.aborted).toBe(true), SOON);
    late.resolve(told(unread));
    await vi.waitFor(() => expect(unread.destroyed).toBe(true), SOON);
    expect(made.errors).toEqual([]);
  });

  test("who leaves while he still sends is no fault of ours", async () => {
    const made = await stage();
    const socket = connect(made.port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.write("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{");
    await new Promise((resolve) => setTimeout(resolve, 30));
    socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect([made.errors, made.asked]).toEqual([[], []]);
  });

  test("that is not read is not made (O2)", async () => {
    const made = await stage();
    const piece = Buffer.alloc(64 * 1024, "x");
    let given = 0;
    const body = new Readable({ read: () => void (given++ < 2_000 ? body.push(piece) : body.push(null)) });
    made.answer = async () => told(body, { contentType: "text/event-stream" });
    const socket = connect(made.port, "127.0.0.1");
    const sent = JSON.stringify(CHAT);
    socket.write(`POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: ${sent.length}\r\n\r\n${sent}`);
    socket.pause();
    await new Promise((resolve) => setTimeout(resolve, 200));
    const before = given;
    expect(before).toBeLessThan(500);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(given).toBe(before);
    let read = 0;
    for await (const chunk of socket as AsyncIterable<Buffer>) read += chunk.length;
    expect(read).toBeGreaterThan(2_000 * piece.length);
  });

  test("that is cut after its beginning does not look whole", async () => {
    const made = await stage();
    const body = new PassThrough();
    body.write('{"half":');
    made.answer = async () => told(body);
    const asked = made.ask("/v1/chat/completions", CHAT);
    await vi.waitFor(() => expect(made.asked).toHaveLength(1), SOON);
    setTimeout(() => body.destroy(new Error("gone")), 20);
    await expect(asked).rejects.toThrow();
    expect((await made.ask("/v1/models")).status).toBe(200);
  });
});
