import { setImmediate as turn } from "node:timers/promises";
import type { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import { describe, expect, test, vi } from "vitest";
import {
  lender,
  routerOf,
  delta,
  DONE,
  streamed,
  told,
  good,
  fails,
  hangs,
  chat,
  refusal,
  type Ask,
} from "../../../../tests/support/fake-lender.ts";
import { lent } from "../../core/models/fixtures.ts";
import { PolicyRefusal } from "../lines/lending.ts";
import { ModelFault, type ModelRequest } from "../models.ts";

const never = new AbortController().signal;
const GB = 1e9;
const SOON = { timeout: 5_000, interval: 1 };

describe("the line before a place", () => {
  const user = (name: string): ModelRequest => chat({}, { asker: { token: "t", name } });

  test("no more at work than there are slots; one that ends lets the next one in, users in turn", async () => {
    const { ask, bodies } = hangs();
    const { router, lenders } = routerOf(ask);
    const order: string[] = [];
    const asked = ["ann", "ann", "ann", "ann", "bob"].map(async (name, at) => {
      const answer = await router.answer(user(name), never);
      order.push(`${name}${at}`);
      return text(answer.body);
    });
    for (let at = 0; at < 5; at++) {
      await vi.waitFor(() => expect(bodies.length).toBe(Math.min(at + 2, 5)), SOON);
      expect(lenders[0]?.asked.length).toBeLessThanOrEqual(at + 2);
      bodies[at]?.end(delta("x", "stop") + DONE);
      await vi.waitFor(() => expect(order.length).toBe(at + 1), SOON);
    }
    await Promise.all(asked);
    // Two of Ann's were at work; of those that wait Bob's is the first.
    expect(order).toEqual(["ann0", "ann1", "bob4", "ann2", "ann3"]);
  });

  test("one that is given up while it waits leaves the line, and the others move up", async () => {
    const { ask, bodies } = hangs();
    const { router, lenders } = routerOf(ask);
    const leaving = new AbortController();
    const first = [router.answer(user("ann"), never), router.answer(user("ann"), never)];
    const gone = router.answer(user("ann"), leaving.signal);
    const last = router.answer(user("ann"), never);
    await vi.waitFor(() => expect(bodies.length).toBe(2), SOON);
    leaving.abort(new Error("gone away"));
    await expect(gone).rejects.toThrow("gone away");
    for (const body of bodies) body.end(delta("x", "stop") + DONE);
    for (const one of first) await text((await one).body);
    await vi.waitFor(() => expect(bodies.length).toBe(3), SOON);
    bodies[2]?.end(delta("y", "stop") + DONE);
    expect(await text((await last).body)).toContain("y");
    expect(lenders[0]?.asked).toHaveLength(3);
    await expect(router.answer(user("ann"), AbortSignal.abort(new Error("before")))).rejects.toThrow("before");
    expect(lenders[0]?.asked).toHaveLength(3);
  });

  test("one that is given up at work frees its slot: before its answer, in its beginning, and after it", async () => {
    const { ask, bodies } = hangs();
    const { router } = routerOf(ask);
    const slow: Ask = (_question, signal) =>
      new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(new ModelFault("unreachable", "given up"))));
    for (const way of [slow, ask]) {
      const { router: other, lenders } = routerOf(way);
      for (let at = 0; at < 5; at++) {
        const leaving = new AbortController();
        const asked = other.answer(user("ann"), leaving.signal);
        await vi.waitFor(() => expect(lenders[0]?.asked.length).toBe(at + 1), SOON);
        leaving.abort();
        await expect(asked).rejects.toThrow();
      }
    }
    const earlier = bodies.length;
    for (let at = 0; at < 5; at++) {
      const asked = router.answer(user("ann"), never);
      await vi.waitFor(() => expect(bodies.length).toBe(at + 1 + earlier), SOON);
      const mine = bodies.at(-1) as PassThrough;
      mine.write(delta("x"));
      const { body } = await asked;
      body.destroy();
      await vi.waitFor(() => expect(mine.destroyed).toBe(true), SOON);
    }
  });

  test("a full line sends to another place, and where all are full it is a 429 that says when", async () => {
    const { ask } = hangs();
    const { router, lenders } = routerOf(ask);
    const leaving = new AbortController();
    // Half of the line is the most that one user gets.
    const waiting = Array.from({ length: 2 + 32 }, () => router.answer(user("ann"), leaving.signal).catch(() => undefined));
    await turn();
    const refused = await refusal(router.answer(user("ann"), never));
    expect(refused).toMatchObject({ status: 429, code: "overloaded", attempts: 0 });
    expect(refused.retryAfterMs).toBeGreaterThanOrEqual(1_000);
    const model = lent("two", "m", { sizeBytes: 900 * GB });
    router.lends(model.node, lender([model], good));
    expect((await router.answer(user("ann"), never)).node).toBe("two");
    expect(lenders[0]?.asked).toHaveLength(2);
    leaving.abort();
    await Promise.all(waiting);
  });

  test("who waits goes over to a place that has become free, or is new; the oldest first, and where it is no better, not", async () => {
    const { ask, bodies } = hangs();
    const { router, lenders } = routerOf(ask);
    const asked = Array.from({ length: 4 }, () => router.answer(user("ann"), never));
    await vi.waitFor(() => expect(bodies.length).toBe(2), SOON);
    const slow = lent("slow", "m", { sizeBytes: 90_000 * GB, slots: { total: 1, busy: 0 } });
    const there = hangs();
    const slower = lender([slow], there.ask);
    router.lends(slow.node, slower);
    await turn();
    expect(slower.asked).toEqual([]);
    const quick = lent("quick", "m", { sizeBytes: GB, slots: { total: 1, busy: 0 } });
    const elsewhere = hangs();
    router.lends(quick.node, lender([quick], elsewhere.ask));
    await vi.waitFor(() => expect(elsewhere.bodies.length).toBe(1), SOON);
    elsewhere.bodies[0]?.end(delta("third", "stop") + DONE);
    const third = await asked[2];
    expect([third?.node, third && (await text(third.body)).includes("third")]).toEqual(["quick", true]);
    // The slot that it leaves is the next one's.
    await vi.waitFor(() => expect(elsewhere.bodies.length).toBe(2), SOON);
    elsewhere.bodies[1]?.end(delta("x", "stop") + DONE);
    expect((await asked[3])?.node).toBe("quick");
    expect(lenders[0]?.asked).toHaveLength(2);
    for (const body of bodies) body.end(delta("x", "stop") + DONE);
    await Promise.all(asked);
  });

  test("batches go over after people, and wait behind them", async () => {
    const { ask, bodies } = hangs();
    const { router } = routerOf(ask);
    const batch = (): ModelRequest => chat({ model: "m@one" }, { lane: "batch", asker: { token: "t", name: "ann" } });
    const order: string[] = [];
    const asked = [batch(), batch(), batch(), user("bob"), user("bob")].map(async (request, at) => {
      const answer = await router.answer(request, never);
      order.push(`${request.lane} ${at}`);
      return text(answer.body);
    });
    for (let at = 0; at < 5; at++) {
      await vi.waitFor(() => expect(bodies.length).toBeGreaterThan(at), SOON);
      bodies[at]?.end(delta("x", "stop") + DONE);
      await vi.waitFor(() => expect(order.length).toBe(at + 1), SOON);
    }
    await Promise.all(asked);
    expect(order).toEqual(["batch 0", "batch 1", "interactive 3", "interactive 4", "batch 2"]);
  });

  test("whose turn does not come is told so after five minutes, and leaves its place in the line", async () => {
    const { ask, bodies } = hangs();
    const { router, clock } = routerOf(ask);
    const asked = Array.from({ length: 3 }, () => router.answer(user("ann"), never));
    asked[2]?.catch(() => undefined);
    await vi.waitFor(() => expect(bodies.length).toBe(2), SOON);
    clock.advance(299_000);
    await turn();
    expect(router.loads()).toMatchObject([{ queued: 1 }]);
    clock.advance(1_001);
    const refused = await refusal(asked[2] as NonNullable<(typeof asked)[2]>);
    expect(refused).toMatchObject({ status: 429, code: "overloaded", message: expect.stringContaining("300 s") as string });
    expect(router.loads()).toMatchObject([{ queued: 0, inFlight: 2 }]);
    for (const body of bodies) body.end(delta("x", "stop") + DONE);
    await Promise.all(asked.slice(0, 2));
  });

  test("those that wait for a node that goes away are answered elsewhere", async () => {
    const { ask, bodies } = hangs();
    const { router, lenders } = routerOf(ask);
    const asked = Array.from({ length: 4 }, () => router.answer(user("ann"), never));
    await vi.waitFor(() => expect(bodies.length).toBe(2), SOON);
    const model = lent("two", "m", { sizeBytes: 900 * GB });
    router.lends(model.node, lender([model], good));
    lenders[0]?.end();
    for (const body of bodies) body.destroy(new ModelFault("unreachable", "the line has ended"));
    expect((await Promise.all(asked)).map(({ node, attempts }) => [node, attempts])).toEqual([
      ["two", 2],
      ["two", 2],
      ["two", 1],
      ["two", 1],
    ]);
  });
});

describe("what is remembered", () => {
  test("a place that fails again and again is left alone, is tried again by one, and comes back", async () => {
    let isDown = true;
    const { router, lenders, clock } = routerOf(() => (isDown ? told(500, {}) : streamed(delta("x", "stop"), DONE)));
    for (let at = 0; at < 5; at++) expect((await refusal(router.answer(chat(), never))).status).toBe(502);
    const open = await refusal(router.answer(chat(), never));
    expect(open).toMatchObject({ status: 503, code: "node_lost" });
    expect(open.retryAfterMs).toBeGreaterThan(0);
    expect(lenders[0]?.asked).toHaveLength(5);
    clock.advance(30_001);
    expect((await refusal(router.answer(chat(), never))).status).toBe(502);
    expect((await refusal(router.answer(chat(), never))).status).toBe(503);
    clock.advance(30_001);
    isDown = false;
    for (let at = 0; at < 2; at++) expect(await text((await router.answer(chat(), never)).body)).toContain("x");
  });

  test("those that wait while it begins to be left alone are not sent there", async () => {
    const waits: (() => void)[] = [];
    const { router, lenders } = routerOf(
      () => new Promise((_resolve, reject) => waits.push(() => reject(new ModelFault("silent", "nothing")))),
    );
    const asked = Array.from({ length: 9 }, () => refusal(router.answer(chat(), never)));
    for (let at = 0; at < 5; at++) {
      await vi.waitFor(() => expect(waits.length).toBeGreaterThan(0), SOON);
      waits.shift()?.();
      await turn();
    }
    waits.shift()?.();
    expect((await Promise.all(asked)).map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([
      502, 502, 502, 502, 502, 502, 503, 503, 503,
    ]);
    expect(lenders[0]?.asked).toHaveLength(6);
  });

  test("a node's own rule, and whoever goes away, say nothing of its server", async () => {
    const { router, lenders } = routerOf(fails(new PolicyRefusal("not for ann")));
    for (let at = 0; at < 9; at++) expect((await refusal(router.answer(chat(), never))).status).toBe(403);
    expect(lenders[0]?.asked).toHaveLength(9);
    const { router: other, lenders: others } = routerOf(hangs().ask);
    for (let at = 0; at < 9; at++) {
      const leaving = new AbortController();
      const asked = other.answer(chat(), leaving.signal);
      await vi.waitFor(() => expect(others[0]?.asked).toHaveLength(at + 1), SOON);
      leaving.abort();
      await expect(asked).rejects.toThrow();
    }
  });

  test("a session goes where it was, for each person and token by itself", async () => {
    const { router } = routerOf(good, good);
    const small = { messages: [{ role: "user", content: "hi" }], max_tokens: 1 };
    const at = async (session: string | undefined, name = "ann"): Promise<string | undefined> => {
      const answer = await router.answer(chat(small, { asker: { token: "t", name }, ...(session !== undefined && { session }) }), never);
      await text(answer.body);
      return answer.node;
    };
    const only = chat({ ...small, model: "m@two" }, { session: "s", asker: { token: "t", name: "ann" } });
    await text((await router.answer(only, never)).body);
    expect(await at("s")).toBe("two");
    expect(await at("s", "bob")).toBe("one");
    expect(await at("other")).toBe("one");
    expect(await at(undefined)).toBe("one");
  });

  test("a newer line of a node takes the place of the older, whose end changes nothing", async () => {
    const { router, lenders } = routerOf(good);
    const model = lent("one", "m");
    const newer = lender([model], good);
    router.lends(model.node, newer);
    lenders[0]?.end();
    await turn();
    expect((await router.answer(chat(), never)).node).toBe("one");
    expect([newer.asked.length, lenders[0]?.asked.length]).toEqual([1, 0]);
    newer.end();
    await turn();
    expect(await router.list()).toEqual([]);
  });
});
