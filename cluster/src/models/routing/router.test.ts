import { PassThrough, Readable } from "node:stream";
import { text } from "node:stream/consumers";
import type { LentModel } from "@openclaw-cluster/contract/models";
import { describe, expect, test } from "vitest";
import { HandClock } from "../../../../tests/support/hand-clock.ts";
import {
  lender,
  routerOf,
  event,
  delta,
  ROLE,
  DONE,
  streamed,
  told,
  good,
  fails,
  chat,
  refusal,
  type Ask,
} from "../../../../tests/support/fake-lender.ts";
import { lent } from "../../core/models/fixtures.ts";
import { silentLog } from "../../system/log.ts";
import { PolicyRefusal } from "../lines/lending.ts";
import { ModelFault, type ModelAnswer } from "../models.ts";
import { Router } from "./router.ts";

const never = new AbortController().signal;

/** What `body` fails of after these pieces. */
const cutAfter = (fault: Error | undefined, ...pieces: string[]): ModelAnswer => {
  const body = new PassThrough();
  for (const piece of pieces) body.write(piece);
  setImmediate(() => (fault === undefined ? body.end() : body.destroy(fault)));
  return { status: 200, contentType: "text/event-stream", body };
};
/** The last event of an answer. */
const lastOf = (said: string): unknown => JSON.parse((said.trim().split("\n\n").at(-1) ?? "").replace(/^data: /, ""));

describe("before the first token another node is asked (R1)", () => {
  const broken: readonly (readonly [what: string, ask: Ask])[] = [
    ["one that cannot be asked", fails(new ModelFault("unreachable", "gone"))],
    ["one that is silent", fails(new ModelFault("silent", "nothing came"))],
    ["one that throws what nobody foresaw", fails(new TypeError("x is undefined"))],
    ["one that refuses by its own rule", fails(new PolicyRefusal("not for ann"))],
    ["a 500", () => told(500, { error: { message: "out of memory" } })],
    ["a 503", () => told(503, { error: { message: "loading" } })],
    ["a 404", () => told(404, { error: { message: "no such model" } })],
    ["a key that is not taken", () => told(401, { error: { message: "wrong key" } })],
    ["a server that is too busy", () => told(429, { error: { message: "later" } })],
    ["a status that is no answer", () => told(304, {})],
    ["a page", () => streamed("<!doctype html>\n<title>It works</title>\n")],
    ["an event that is no JSON", () => streamed("data: hello\n\n")],
    ["an error as the first event", () => streamed(ROLE, event({ error: { message: "cuda died" } }))],
    ["an end before the first token", () => streamed(ROLE)],
    ["an end before anything", () => streamed()],
    ["a line that breaks before the first token", () => cutAfter(new ModelFault("unreachable", "gone"), ROLE)],
  ];
  test.each(broken)("after %s", async (_what, ask) => {
    const { router, lenders } = routerOf(ask, good);
    const { node, attempts, body, status } = await router.answer(chat(), never);
    expect([node, attempts, status, await text(body)]).toEqual(["two", 2, 200, ROLE + delta("hello") + delta(" there", "stop") + DONE]);
    expect(lenders[0]?.asked).toHaveLength(1);
  });

  test("three at most, and the last reason is told", async () => {
    const { router, lenders } = routerOf(...["a", "b", "c", "d"].map((why) => fails(new ModelFault("unreachable", `down ${why}`))));
    const refused = await refusal(router.answer(chat(), never));
    expect(refused).toMatchObject({ status: 502, code: "node_lost", attempts: 3, message: expect.stringContaining("down c") as string });
    expect(lenders.map(({ asked }) => asked.length)).toEqual([1, 1, 1, 0]);
  });

  test("nodes that refuse by their own rule cost no attempt", async () => {
    const { router } = routerOf(...Array.from({ length: 4 }, () => fails(new PolicyRefusal("not for ann"))), good);
    expect(await router.answer(chat(), never)).toMatchObject({ node: "five", attempts: 5 });
  });

  test("in the order of the choice", async () => {
    const { router, lenders } = routerOf(good, good, good);
    expect((await router.answer(chat(), never)).node).toBe("one");
    expect(lenders.map(({ asked }) => asked.length)).toEqual([1, 0, 0]);
  });

  test("a node that is far away, or runs on its battery, comes behind an equal one", async () => {
    const { router } = routerOf();
    const nodes: readonly (readonly [string, number, object])[] = [
      ["far", 900, {}],
      ["tired", 1, { onBattery: true }],
      ["near", 1, {}],
    ];
    for (const [node, roundTripMs, more] of nodes) {
      const model = lent(node, "m", more);
      router.lends(model.node, Object.assign(lender([model], fails(new ModelFault("unreachable", "gone"))), { roundTripMs }));
    }
    await refusal(router.answer(chat({ max_tokens: 100 }), never));
    const [{ attempts } = { attempts: [] }] = router.book.list({ limit: 1 });
    expect(attempts.map(({ node }) => node)).toEqual(["near", "tired", "far"]);
  });

  test("an answer that is wanted whole is read whole before it counts", async () => {
    const whole = { choices: [{ message: { content: "hello" } }] };
    const cut = (): ModelAnswer => ({
      ...cutAfter(new ModelFault("unreachable", "gone"), '{"choices":['),
      contentType: "application/json",
    });
    const { router } = routerOf(cut, () => told(200, whole));
    const { node, body } = await router.answer(chat({ stream: false }), never);
    expect([node, JSON.parse(await text(body))]).toEqual(["two", whole]);
  });

  test("embeddings are never streams, whatever they say", async () => {
    const { router } = routerOf();
    const model = lent("one", "m", { can: { chat: false, tools: false, vision: false, json: false, embeddings: true } });
    router.lends(
      model.node,
      lender([model], () => told(200, { data: [] })),
    );
    const { body } = await router.answer(chat({ input: "a" }, { path: "/embeddings" }), never);
    expect(JSON.parse(await text(body))).toEqual({ data: [] });
  });
});

describe("what is the answer (R2)", () => {
  test("a 4xx of the request itself, as it is", async () => {
    const { router, lenders } = routerOf(() => told(422, { error: { message: "temperature" } }), good);
    const { status, node, body } = await router.answer(chat(), never);
    expect([status, node, JSON.parse(await text(body))]).toEqual([422, "one", { error: { message: "temperature" } }]);
    expect(lenders[1]?.asked).toEqual([]);
  });

  const tooLong: Ask = () => told(400, { error: { code: 400, type: "exceed_context_size_error", message: "too long", n_ctx: 1 } });
  test("a context that is exceeded has OpenAI's code", async () => {
    expect(await refusal(routerOf(tooLong).router.answer(chat(), never))).toMatchObject({
      ...{ status: 400, code: "context_length_exceeded", message: "too long", attempts: 1 },
    });
    const { router: other } = routerOf(() => ({ ...told(400, {}), body: Readable.from([Buffer.from("exceed_context_size_error")]) }));
    expect(await text((await other.answer(chat(), never)).body)).toBe("exceed_context_size_error");
  });

  test("a server that finds the prompt too long is no end while another one has a larger context", async () => {
    const sized = (node: string, contextTokens: number, sizeBytes: number): LentModel => lent(node, "m", { contextTokens, sizeBytes });
    const { router } = routerOf();
    const [small, same, large] = [sized("one", 8_192, 1e9), sized("two", 8_192, 2e9), sized("three", 16_384, 4e9)] as const;
    const lenders = [lender([small], tooLong), lender([same], good), lender([large], good)] as const;
    for (const [at, { node }] of [small, same, large].entries()) router.lends(node, lenders[at] as (typeof lenders)[0]);
    expect(await router.answer(chat(), never)).toMatchObject({ node: "three", attempts: 2 });
    expect(lenders[1].asked).toEqual([]);
  });

  test("a node that is not to be asked is passed over, and is the reason where there is no other", async () => {
    const objection = (node: string): string | undefined => (node === "one" ? "is draining" : undefined);
    const router = new Router({ aliases: () => ({}), objection, clock: new HandClock(), log: silentLog });
    const [one, two] = [lent("one", "m"), lent("two", "m", { sizeBytes: 90e9 })];
    router.lends(one.node, lender([one], good));
    expect(await refusal(router.answer(chat(), never))).toMatchObject({ status: 403, message: "m@one is draining" });
    router.lends(two.node, lender([two], good));
    expect((await router.answer(chat(), never)).node).toBe("two");
  });

  const refusals: readonly (readonly [number, string, Ask])[] = [
    [403, "policy_denied", fails(new PolicyRefusal("not for ann"))],
    [400, "unsupported", fails(new ModelFault("unsupported", "no responses here"))],
    [404, "model_not_found", () => told(404, { error: { message: "unloaded" } })],
    [429, "overloaded", () => told(429, { error: { message: "later" } })],
    [502, "node_lost", () => told(401, { error: { message: "wrong key" } })],
    [502, "node_lost", () => told(500, { error: { message: "died" } })],
  ];
  test.each(refusals)("else %i %s, where nobody else has it", async (status, code, ask) => {
    expect(await refusal(routerOf(ask).router.answer(chat(), never))).toMatchObject({ status, code, attempts: 1 });
  });

  test("of several reasons what will do later is told first, and what never will last", async () => {
    const [later, lost, never1, never2] = [
      () => told(429, {}),
      () => told(500, {}),
      fails(new PolicyRefusal("not for ann")),
      fails(new ModelFault("unsupported", "no")),
    ] as const;
    expect((await refusal(routerOf(never1, later, lost).router.answer(chat(), never))).code).toBe("overloaded");
    expect((await refusal(routerOf(lost, never1, never2).router.answer(chat(), never))).code).toBe("node_lost");
    expect((await refusal(routerOf(never2, never1).router.answer(chat(), never))).code).toBe("policy_denied");
  });

  test("a request that says where it is answered from, or what is to be fetched for it, whoever asks", async () => {
    const { router, lenders } = routerOf(good);
    const picture = { type: "image_url", image_url: { url: "http://192.168.1.1/" } };
    const bodies = [{ base_url: "http://10.0.0.1" }, { messages: [{ role: "user", content: [picture] }] }];
    for (const body of bodies) expect(await refusal(router.answer(chat(body), never))).toMatchObject({ status: 400, code: "bad_request" });
    expect(lenders[0]?.asked).toEqual([]);
  });

  test("a name that nobody lends, an address, and what no model can", async () => {
    const { router } = routerOf(good);
    expect(await refusal(router.answer(chat({ model: "n" }), never))).toMatchObject({ status: 404, code: "model_not_found" });
    expect(await refusal(router.answer(chat({ model: "http://x/v1" }), never))).toMatchObject({ status: 400, code: "bad_request" });
    expect(await refusal(router.answer(chat({ model: undefined }), never))).toMatchObject({ status: 400, code: "bad_request" });
    expect(await refusal(router.answer(chat({ input: "x" }, { path: "/embeddings" }), never))).toMatchObject({
      status: 400,
      code: "unsupported",
    });
  });
});

describe("after the first token", () => {
  const cuts: readonly (readonly [string, () => ModelAnswer])[] = [
    ["a line that breaks", () => cutAfter(new ModelFault("unreachable", "gone"), ROLE, delta("hello"))],
    ["an end without its mark", () => cutAfter(undefined, ROLE, delta("hello"))],
    ["an end in the middle of an event", () => cutAfter(undefined, ROLE, delta("hello"), 'data: {"choices":[{"delta":{"content":"th')],
    ["words that look like the mark", () => cutAfter(undefined, ROLE, delta("hello"), delta("data: [DONE]"))],
    ["what cannot be read", () => cutAfter(undefined, ROLE, delta("hello"), "<html>\n\n", delta("more"))],
  ];
  test.each(cuts)("%s ends with an error event, in which the node stands (R4)", async (_what, ask) => {
    const { router, lenders } = routerOf(ask, good);
    const said = await text((await router.answer(chat(), never)).body);
    expect(said.startsWith(ROLE + delta("hello"))).toBe(true);
    expect(lastOf(said)).toMatchObject({
      error: { code: "node_lost", type: "server_error", message: expect.stringContaining("one") as string },
    });
    // Each of its events can be read.
    for (const one of said.trim().split("\n\n")) expect(() => JSON.parse(one.replace("data: ", "")) as unknown).not.toThrow();
    expect(lenders[1]?.asked).toEqual([]);
  });

  test("an error event of the server's own is enough", async () => {
    const own = event({ error: { message: "cuda died" } });
    const { router } = routerOf(() => cutAfter(undefined, delta("hello"), own));
    expect(await text((await router.answer(chat(), never)).body)).toBe(delta("hello") + own);
  });

  test("a stream of responses ends with its own events", async () => {
    const created = event({ type: "response.created", response: {} });
    const word = event({ type: "response.output_text.delta", delta: 'say "response.completed"' });
    const last = event({ type: "response.completed", response: { output: [] } });
    const whole = routerOf(() => cutAfter(undefined, created, word, last)).router;
    const ask = chat({ input: "hi" }, { path: "/responses" });
    expect(await text((await whole.answer(ask, never)).body)).toBe(created + word + last);
    const { router } = routerOf(() => cutAfter(undefined, created, word));
    expect(lastOf(await text((await router.answer(ask, never)).body))).toMatchObject({ error: { code: "node_lost" } });
    const failed = routerOf(
      () => streamed(created, event({ type: "response.failed", response: { error: { message: "no memory" } } })),
      good,
    );
    expect((await failed.router.answer(ask, never)).node).toBe("two");
  });
});
