import { PassThrough, Readable } from "node:stream";
import { text } from "node:stream/consumers";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { afterEach, describe, expect, test, vi } from "vitest";
import { HandClock } from "../../../../tests/support/hand-clock.ts";
import { linePair, type LinePair } from "../../../../tests/support/line-pair.ts";
import { lent } from "../../core/models/fixtures.ts";
import { answerAsker, type AskerParts } from "./answering.ts";
import { routerOver } from "./asking.ts";
import { askOver, type LineEnd } from "./line.ts";
import { ModelFault, RouteRefusal, type ModelRequest, type ModelRouter, type RoutedAnswer } from "../models.ts";

const SOON = { timeout: 5_000, interval: 2 };
const never = new AbortController().signal;
const LAPTOP = { token: "laptop", name: "node:laptop" };
const AT: Omit<AskerParts, "router"> = { asker: LAPTOP, node: "laptop" as NodeId, clock: new HandClock() };
const WORD = 'data: {"choices":[{"delta":{"content":"a"}}]}\n\n';
const DONE = "data: [DONE]\n\n";

let pair: LinePair | undefined;
afterEach(() => pair?.end());

interface Stage {
  readonly cluster: ModelRouter & LineEnd;
  readonly asked: { request: ModelRequest; signal: AbortSignal }[];
  answer: (request: ModelRequest) => Promise<RoutedAnswer>;
  list: ModelRouter["list"];
}

async function stage(): Promise<Stage> {
  pair = await linePair();
  const asked: Stage["asked"] = [];
  const own = { answer: (): Promise<RoutedAnswer> => Promise.resolve(told("{}")), list: (): Promise<never[]> => Promise.resolve([]) };
  const made: Stage = Object.assign(own, { asked, cluster: routerOver(pair.near) });
  const router: ModelRouter = {
    list: () => made.list(),
    answer: (request, signal) => (asked.push({ request, signal }), made.answer(request)),
  };
  answerAsker(pair.far, { router, ...AT });
  return made;
}

const told = (said: string | Readable, contentType = "application/json"): RoutedAnswer => ({
  ...{ status: 200, contentType, attempts: 2, node: "gaming", model: "家/m", id: "r1", why: "gaming: loaded" },
  body: typeof said === "string" ? Readable.from([Buffer.from(said)]) : said,
});
const request = (more: Partial<ModelRequest> = {}): ModelRequest => ({
  ...{ path: "/chat/completions", body: { model: "m", messages: ["你好"] }, asker: { token: "someone", name: "else" } },
  lane: "interactive",
  ...more,
});

describe("a request", () => {
  test("and its answer cross whole, and who asks is the line's node (A1)", async () => {
    const { cluster, asked } = await stage();
    const answer = await cluster.answer(request({ session: "a session, with 家" }), never);
    expect(answer).toMatchObject({
      status: 200,
      contentType: "application/json",
      attempts: 2,
      node: "gaming",
      model: "家/m",
      id: "r1",
      why: "gaming: loaded",
    });
    expect(await text(answer.body)).toBe("{}");
    expect(asked[0]?.request).toEqual({ ...request(), asker: LAPTOP, session: "a session, with 家" });
    await cluster.answer(request({ lane: "batch", on: "gaming" as NodeId }), never);
    expect(asked[1]?.request).toMatchObject({ lane: "batch", on: "gaming" });
    await cluster.answer(request({ session: "\ud800 half a letter" }), never);
  });

  test("is refused with all that was said of it", async () => {
    const made = await stage();
    made.answer = () => Promise.reject(new RouteRefusal(429, "overloaded", "zu viele, 家", { retryAfterMs: 1_234.5, attempts: 3 }));
    const refused = { name: "RouteRefusal", status: 429, code: "overloaded", message: "zu viele, 家", retryAfterMs: 1_235, attempts: 3 };
    await expect(made.cluster.answer(request(), never)).rejects.toMatchObject(refused);
    made.answer = () => Promise.reject(new RouteRefusal(404, "model_not_found", "x".repeat(1_000_000)));
    await expect(made.cluster.answer(request(), never)).rejects.toMatchObject({
      status: 404,
      code: "model_not_found",
      retryAfterMs: undefined,
    });
    made.answer = () => Promise.reject(new TypeError("x"));
    await expect(made.cluster.answer(request(), never)).rejects.toMatchObject({ name: "ModelFault", kind: "unreachable" });
  });

  test("that is none is refused, and the router never hears of it", async () => {
    const { asked } = await stage();
    const line = askOver((pair = await linePair()).near);
    const router: ModelRouter = { list: () => Promise.resolve([]), answer: () => Promise.reject(new Error("never")) };
    answerAsker(pair.far, { router, ...AT });
    const ask = async (path: string, body: string): Promise<unknown> => {
      const answer = await line.ask({ path, headers: {}, body }, never);
      await text(answer.body);
      return [answer.status, answer.headers["x-refusal"]];
    };
    for (const body of ["", "{", "null", "[]", `{"a":${"[".repeat(2_000)}${"]".repeat(2_000)}}`])
      expect(await ask("/chat/completions", body)).toEqual([400, "bad_request"]);
    expect(await ask("/embeddings", `{"a":"${"x".repeat(16 * 1024 * 1024)}"}`)).toEqual([413, "request_too_large"]);
    expect(await ask("/nodes", "{}")).toEqual([404, "unknown_url"]);
    expect(asked).toEqual([]);
  });

  test("that is given up is given up at the router", async () => {
    const made = await stage();
    made.answer = () => new Promise(() => undefined);
    const leaving = new AbortController();
    const asked = made.cluster.answer(request(), leaving.signal);
    await vi.waitFor(() => expect(made.asked).toHaveLength(1), SOON);
    leaving.abort();
    await expect(asked).rejects.toBeInstanceOf(ModelFault);
    await vi.waitFor(() => expect(made.asked[0]?.signal.aborted).toBe(true), SOON);
    const body = new PassThrough();
    body.write(WORD);
    made.answer = async () => told(body, "text/event-stream");
    (await made.cluster.answer(request(), never)).body.destroy();
    await vi.waitFor(() => expect(body.destroyed).toBe(true), SOON);
  });

  test("whose stream is cut with the line ends with an error event, and once only (A2)", async () => {
    const made = await stage();
    const body = new PassThrough();
    body.write(WORD);
    body.write('data: {"choices":[{"del');
    made.answer = async () => told(body, "text/event-stream");
    const answer = await made.cluster.answer(request(), never);
    const said = text(answer.body);
    await new Promise((resolve) => setTimeout(resolve, 20));
    pair?.far.destroy();
    expect((await said).startsWith(WORD)).toBe(true);
    expect(JSON.parse((await said).slice(WORD.length).replace("data: ", ""))).toMatchObject({ error: { code: "node_lost" } });
    const again = await stage();
    const own = 'data: {"error":{"code":"node_lost","message":"gaming is gone"}}\n\n';
    again.answer = async () => told(WORD + own, "text/event-stream");
    expect(await text((await again.cluster.answer(request(), never)).body)).toBe(WORD + own);
    again.answer = async () => told(WORD + DONE, "text/event-stream");
    expect(await text((await again.cluster.answer(request(), never)).body)).toBe(WORD + DONE);
  });
});

describe("the list", () => {
  test("comes whole, and one that is not understood does not hide the others", async () => {
    const made = await stage();
    const models = [lent("gaming", "m"), lent("studio", "家")];
    made.list = async () => [models[0], { ...models[0], server: "newer" }, models[1]] as typeof models;
    expect(await made.cluster.list()).toEqual(models);
  });

  test("of a line that ends, or a router that fails, is a fault", async () => {
    const made = await stage();
    made.list = () => Promise.reject(new RouteRefusal(503, "node_lost", "later"));
    await expect(made.cluster.list()).rejects.toMatchObject({ code: "node_lost" });
    pair?.end();
    await made.cluster.ended;
    await expect(made.cluster.list()).rejects.toMatchObject({ kind: "unreachable" });
  });
});
