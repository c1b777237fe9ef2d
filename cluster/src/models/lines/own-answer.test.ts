import { setImmediate as turn } from "node:timers/promises";
import { text } from "node:stream/consumers";
import type { PassThrough } from "node:stream";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { afterEach, expect, test, vi } from "vitest";
import {
  chat,
  delta,
  DONE,
  fails,
  good,
  hangs,
  lender,
  refusal,
  ROLE,
  routerOf,
  streamed,
  told,
  type Ask,
  type FakeLender,
} from "../../../../tests/support/fake-lender.ts";
import type { HandClock } from "../../../../tests/support/hand-clock.ts";
import { linePair, type LinePair } from "../../../../tests/support/line-pair.ts";
import { lent } from "../../core/models/fixtures.ts";
import { answerAsker } from "./answering.ts";
import { routerOver, type OwnEnd } from "./asking.ts";
import type { LineEnd } from "./line.ts";
import { ModelFault, type ModelAnswer, type ModelRouter } from "../models.ts";
import type { Router } from "../routing/router.ts";

const never = new AbortController().signal;
const SOON = { timeout: 5_000, interval: 2 };
const WHOLE = ROLE + delta("hello") + delta(" there", "stop") + DONE;

let pair: LinePair | undefined;
afterEach(() => pair?.end());

interface Stage {
  readonly cluster: ModelRouter & LineEnd;
  readonly router: Router;
  readonly clock: HandClock;
  /** As whoever leads would ask it: never, while it answers by itself. */
  readonly laptop: FakeLender;
  readonly others: readonly FakeLender[];
}

/** The laptop's model is the quickest; its own server answers as `own` does. Others are there in the order of their names. */
async function stage(own: OwnEnd["ask"], ...others: Ask[]): Promise<Stage> {
  pair = await linePair();
  const { router, lenders, clock } = routerOf(...others);
  const model = lent("laptop", "m", { sizeBytes: 9e9, slots: { total: 1, busy: 0 } });
  const laptop = lender([model], fails(new Error("asked over its line")));
  router.lends(model.node, laptop);
  const node = "laptop" as NodeId;
  answerAsker(pair.far, { router, asker: { token: node, name: "node:laptop" }, node, clock });
  return { router, clock, laptop, others: lenders, cluster: routerOver(pair.near, { node, ask: own }) };
}

test("a node whose own model is chosen answers by itself, and its bytes go over no line", async () => {
  const asked: unknown[] = [];
  const { cluster, laptop, router } = await stage(async (question) => (asked.push(question), good(question, never)), good);
  const request = chat({ seed: 1 });
  const { node, model, attempts, status, body, id, why } = await cluster.answer(request, never);
  expect(why).toMatch(/^laptop: loaded/);
  expect([node, model, attempts, status, await text(body)]).toEqual(["laptop", "m", 1, 200, WHOLE]);
  expect(asked).toEqual([{ path: "/chat/completions", model: "m", endpoint: "ollama", body: request.body }]);
  expect(laptop.asked).toEqual([]);
  await vi.waitFor(
    () => expect(router.book.find(id ?? "")).toMatchObject({ state: "answered", attempts: [{ node: "laptop", tokens: 4 }] }),
    SOON,
  );
});

test("it has its slot like everybody, until its end: another one waits, or goes elsewhere", async () => {
  const { ask, bodies } = hangs();
  const { cluster, router } = await stage(async (question, signal) => ask(question, signal));
  const first = cluster.answer(chat(), never);
  await vi.waitFor(() => expect(bodies.length).toBe(1), SOON);
  (bodies[0] as PassThrough).write(delta("a"));
  await first;
  const second = cluster.answer(chat(), never);
  await vi.waitFor(() => expect(router.loads()).toMatchObject([{ queued: 1, inFlight: 1 }]), SOON);
  expect(bodies).toHaveLength(1);
  (bodies[0] as PassThrough).end(delta("", "stop") + DONE);
  await text((await first).body);
  await vi.waitFor(() => expect(bodies.length).toBe(2), SOON);
  (bodies[1] as PassThrough).end(delta("b", "stop") + DONE);
  expect(await text((await second).body)).toContain("b");
  await vi.waitFor(() => expect(router.loads()).toEqual([]), SOON);
});

const failures: readonly (readonly [string, Ask])[] = [
  ["cannot be asked", fails(new ModelFault("unreachable", "gone"))],
  ["answers 500", () => told(500, { error: { message: "no memory" } })],
  ["is too busy", () => told(429, {})],
  ["ends before its first token", () => streamed(ROLE)],
  ["throws what nobody foresaw", fails(new TypeError("x is undefined"))],
];
test.each(failures)("where its own server %s, another node answers, and nobody notices", async (_what, own) => {
  const { cluster } = await stage(async (question, signal) => own(question, signal), good);
  const { node, attempts, body } = await cluster.answer(chat(), never);
  expect([node, attempts, await text(body)]).toEqual(["one", 2, WHOLE]);
});

test("where its own server is too busy and nobody else has it, it is told when to come again", async () => {
  const { cluster } = await stage(async () => told(429, { error: { message: "later" } }));
  expect(await refusal(cluster.answer(chat(), never))).toMatchObject({ status: 429, code: "overloaded", retryAfterMs: 1_000 });
});

test("where nobody else has it, it is refused with what its own server said", async () => {
  const { cluster, router } = await stage(async () => told(500, { error: { message: "no memory" } }));
  const refused = await refusal(cluster.answer(chat(), never));
  expect(refused).toMatchObject({ status: 502, code: "node_lost", attempts: 1, message: expect.stringContaining("no memory") as string });
  for (let at = 0; at < 4; at++) await refusal(cluster.answer(chat(), never));
  // Its breaker is the cluster's.
  expect(await refusal(cluster.answer(chat(), never))).toMatchObject({ status: 503, attempts: 0 });
  expect(router.loads()).toEqual([]);
});

test("what its server says of the request itself is the answer, whole ones are whole, and embeddings too", async () => {
  let answer: ModelAnswer = told(422, { error: { message: "temperature" } });
  const { cluster, router } = await stage(async () => answer, good);
  expect(await cluster.answer(chat(), never)).toMatchObject({ status: 422, node: "laptop" });
  answer = told(200, { choices: [], usage: { completion_tokens: 9 } });
  expect(JSON.parse(await text((await cluster.answer(chat({ stream: false }), never)).body))).toMatchObject({ choices: [] });
  await vi.waitFor(() => expect(router.loads()).toEqual([]), SOON);
});

test("whoever goes away ends it at its server, and frees its slot", async () => {
  const { ask, bodies } = hangs();
  const { cluster, router } = await stage(async (question, signal) => ask(question, signal));
  for (const hasBegun of [false, true]) {
    const leaving = new AbortController();
    const asked = cluster.answer(chat(), leaving.signal);
    await vi.waitFor(() => expect(bodies.length).toBe(hasBegun ? 2 : 1), SOON);
    const body = bodies.at(-1) as PassThrough;
    if (hasBegun) {
      body.write(delta("a"));
      (await asked).body.destroy();
    }
    leaving.abort();
    await asked.catch(() => undefined);
    await vi.waitFor(() => expect([body.destroyed, router.loads()]).toEqual([true, []]), SOON);
  }
});

test("an answer that has begun goes on where whoever leads is lost, and one that has not is unreachable", async () => {
  const { ask, bodies } = hangs();
  const { cluster } = await stage(async (question, signal) => ask(question, signal));
  const first = cluster.answer(chat(), never);
  await vi.waitFor(() => expect(bodies.length).toBe(1), SOON);
  (bodies[0] as PassThrough).write(delta("a"));
  const { body } = await first;
  pair?.end();
  await cluster.ended;
  (bodies[0] as PassThrough).end(delta("b", "stop") + DONE);
  expect(await text(body)).toBe(delta("a") + delta("b", "stop") + DONE);
  await expect(cluster.answer(chat(), never)).rejects.toMatchObject({ kind: "unreachable" });
});

test("a node that is granted its own place, and then says nothing, keeps it from nobody", async () => {
  const { router, clock } = await stage(async () => new Promise<never>(() => undefined));
  const { askOver } = await import("./line.ts");
  const other = await linePair();
  const node = "laptop" as NodeId;
  answerAsker(other.far, { router, asker: { token: node }, node, clock });
  const line = askOver(other.near);
  const { path, body } = chat();
  const granted = await line.ask({ path, headers: { "x-own": "1" }, body: JSON.stringify(body) }, never);
  expect(granted.headers).toMatchObject({ "x-model": "m", "x-own-id": expect.any(String) as string });
  await turn();
  expect(router.loads()).toMatchObject([{ inFlight: 1 }]);
  clock.advance(10_000);
  await vi.waitFor(() => expect(router.loads()).toEqual([]), SOON);
  const late = await line.ask({ path: `/own/${granted.headers["x-own-id"]}`, headers: {}, body: "" }, never);
  expect(late.status).toBe(404);
  // The words of one that ends without having said how are none.
  const again = await line.ask({ path, headers: { "x-own": "1" }, body: JSON.stringify(body) }, never);
  void line
    .ask({ path: `/own/${again.headers["x-own-id"]}`, headers: {}, body: 'nonsense\n{"kind":"nothing"}\n' }, never)
    .catch(() => undefined);
  await vi.waitFor(() => expect(router.loads()).toEqual([]), SOON);
  other.end();
});
