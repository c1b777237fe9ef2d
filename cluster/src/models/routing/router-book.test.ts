import { text } from "node:stream/consumers";
import { expect, test, vi } from "vitest";
import { chat, delta, DONE, fails, good, hangs, refusal, routerOf, told } from "../../../../tests/support/fake-lender.ts";
import { ModelFault } from "../models.ts";

const never = new AbortController().signal;
const SOON = { timeout: 5_000, interval: 1 };

test("a request is in the book as it went: what was chosen and why, what failed, what was written", async () => {
  const { router, clock } = routerOf(fails(new ModelFault("silent", "nothing came")), good);
  const { id = "", why, body } = await router.answer(chat({}, { session: "s" }), never);
  expect(why).toMatch(/^two: loaded, first token expected in /);
  expect(router.book.find(id)).toMatchObject({ state: "answering", user: "ann", name: "m", lane: "interactive" });
  clock.advance(100);
  await text(body);
  expect(router.book.find(id)).toMatchObject({
    state: "answered",
    candidates: [{ node: "one" }, { node: "two" }],
    attempts: [
      { node: "one", ending: "silent", error: "nothing came" },
      { node: "two", ending: "answered", tokens: 4 },
    ],
  });
  expect(router.book.figures.all()).toMatchObject([{ node: "one" }, { node: "two", tokens: 4 }]);
});

test("a refused one has its reason and its id, and one that was left is given up", async () => {
  const { router } = routerOf(() => told(500, { error: { message: "no memory" } }));
  const lost = await refusal(router.answer(chat(), never));
  expect(router.book.find(lost.id ?? "")).toMatchObject({
    state: "failed",
    refusal: { code: "node_lost" },
    attempts: [{ ending: "faulty" }],
  });
  const unknown = await refusal(router.answer(chat({ model: "n" }), never));
  expect(router.book.find(unknown.id ?? "")).toMatchObject({ state: "failed", refusal: { code: "model_not_found" }, attempts: [] });
  const { ask, bodies } = hangs();
  const { router: other } = routerOf(ask);
  const leaving = new AbortController();
  const asked = other.answer(chat(), leaving.signal);
  await vi.waitFor(() => expect(bodies.length).toBe(1), SOON);
  expect(other.book.list({ limit: 9 })).toMatchObject([{ state: "asked", attempts: [{ node: "one" }] }]);
  leaving.abort();
  await expect(asked).rejects.toThrow();
  expect(other.book.list({ limit: 9 })).toMatchObject([{ state: "given_up", attempts: [{ node: "one", ending: "given_up" }] }]);
});

test("what waits is seen in its line, and an answer that was cut is one", async () => {
  const { ask, bodies } = hangs();
  const { router } = routerOf(ask);
  const asked = Array.from({ length: 3 }, () => router.answer(chat(), never));
  await vi.waitFor(() => expect(bodies.length).toBe(2), SOON);
  expect(router.book.list({ limit: 1 })).toMatchObject([{ state: "waiting", attempts: [{ node: "one" }] }]);
  bodies[0]?.write(delta("x"));
  const { id = "", body } = (await asked[0]) ?? {};
  bodies[0]?.destroy(new ModelFault("unreachable", "gone"));
  await text(body as NonNullable<typeof body>);
  expect(router.book.find(id)).toMatchObject({ state: "failed", attempts: [{ ending: "cut" }] });
  await vi.waitFor(() => expect(bodies.length).toBe(3), SOON);
  for (const one of bodies.slice(1)) one.end(delta("x", "stop") + DONE);
  await Promise.all(asked);
});

test("a plan says where it would go, or why nowhere, and asks nobody", () => {
  const { router, lenders } = routerOf(good, good);
  const plan = ({ path, body, asker } = chat()): object => router.plan({ path, body, asker });
  expect(plan()).toMatchObject({ candidates: [{ node: "one" }, { node: "two" }], passedOver: [] });
  expect(plan(chat({ model: "n" }))).toMatchObject({ candidates: [], refusal: { code: "model_not_found" } });
  expect(plan(chat({ input: "x" }, { path: "/embeddings" }))).toMatchObject({
    candidates: [],
    passedOver: [{ node: "one", code: "no_embeddings" }, { node: "two" }],
    refusal: { code: "unsupported" },
  });
  expect(lenders.flatMap(({ asked }) => asked)).toEqual([]);
  expect(router.book.list({ limit: 9 })).toEqual([]);
});
