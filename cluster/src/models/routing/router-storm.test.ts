import { PassThrough } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";
import { text } from "node:stream/consumers";
import { afterEach, expect, test } from "vitest";
import { chat, delta, DONE, ROLE } from "../../../../tests/support/fake-lender.ts";
import { HandClock } from "../../../../tests/support/hand-clock.ts";
import { linePair, type LinePair } from "../../../../tests/support/line-pair.ts";
import { lent } from "../../core/models/fixtures.ts";
import { silentLog } from "../../system/log.ts";
import { answerAsker } from "../lines/answering.ts";
import { routerOver } from "../lines/asking.ts";
import { borrowOver, lendOver } from "../lines/lending.ts";
import { ModelFault, RouteRefusal, type ModelAnswer, type ModelShelf } from "../models.ts";
import { Router } from "./router.ts";

const NODES = ["one", "two", "three"];
const REQUESTS = 300;
/** The same storm each time, as far as the clock allows. */
const SEED = 7;

const pairs: LinePair[] = [];
afterEach(() => {
  for (const pair of pairs.splice(0)) pair.end();
});

/** Mulberry32. */
function lots(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

test("servers that fail in every way, and askers that leave at any moment: each answer is whole or says that it is not, and no slot is lost", async () => {
  const random = lots(SEED);
  const clock = new HandClock();
  const router = new Router({ aliases: () => ({}), clock, log: silentLog });
  let working = 0;
  let isCalm = false;
  const answer = async (signal: AbortSignal): Promise<ModelAnswer> => {
    const lot = isCalm ? 1 : random();
    if (lot < 0.03) throw new ModelFault("unreachable", "down");
    if (lot < 0.06) return { status: 500, contentType: "application/json", body: new PassThrough().end("{}") };
    const body = new PassThrough();
    working++;
    const leave = (): void => void body.destroy(new ModelFault("unreachable", "given up"));
    signal.addEventListener("abort", leave);
    body.on("close", () => {
      working--;
      signal.removeEventListener("abort", leave);
    });
    void (async () => {
      await pause(random() * 5);
      body.write(ROLE);
      for (let word = 0; word < 20 && !body.destroyed; word++) {
        if (!isCalm && random() < 0.005) return void body.destroy(new ModelFault("silent", "stopped"));
        body.write(delta(`${word} `));
        await pause(random() * 2);
      }
      if (!body.destroyed) body.end(delta("", "stop") + DONE);
    })();
    return { status: 200, contentType: "text/event-stream", body };
  };
  for (const name of NODES) {
    const model = lent(name, "m", { slots: { total: 4, busy: 0 } });
    const pair = await linePair();
    pairs.push(pair);
    const { node: _node, ...offer } = model;
    const shelf = {
      models: [offer],
      onChange: () => ({ stop: () => undefined }),
      ask: (_question: unknown, signal: AbortSignal) => answer(signal),
    };
    lendOver(pair.near, shelf as unknown as ModelShelf, {
      refusal: () => undefined,
      lends: () => true,
      onChange: () => ({ stop: () => undefined }),
    });
    router.lends(model.node, borrowOver(pair.far));
  }
  const asking = await linePair();
  pairs.push(asking);
  // One of those that lend asks: a part of the answers is its own.
  const own = lent(NODES[0] as string, "m").node;
  answerAsker(asking.far, { router, asker: { token: own }, node: own, clock });
  let owned = 0;
  const cluster = routerOver(asking.near, { node: own, ask: (_question, signal) => (owned++, answer(signal)) });
  await expect.poll(async () => (await cluster.list()).length, { interval: 2 }).toBe(NODES.length);

  const ends: Record<string, number> = {};
  const one = async (): Promise<void> => {
    await pause(random() * 1_200);
    const leaving = new AbortController();
    const leaves = random() < 0.3;
    if (leaves) setTimeout(() => leaving.abort(), random() * 60);
    let end: string;
    try {
      const { body } = await cluster.answer(chat(), leaving.signal);
      const said = await text(body);
      end = said.endsWith(DONE) ? "whole" : said.includes('"node_lost"') ? "told" : `silence: ${said}`;
      if (end === "whole") expect(said.match(/\d+ /g)).toHaveLength(20);
    } catch (error) {
      end = error instanceof RouteRefusal ? "refused" : leaving.signal.aborted ? "left" : `lost: ${String(error)}`;
    }
    // Who leaves may be told what he wants no more.
    if (leaves && end !== "whole" && end !== "refused") end = "left";
    ends[end] = (ends[end] ?? 0) + 1;
  };
  await Promise.all(Array.from({ length: REQUESTS }, one));
  expect(
    Object.keys(ends).every((end) => ["whole", "told", "refused", "left"].includes(end)),
    JSON.stringify(ends),
  ).toBe(true);
  expect(ends["whole"]).toBeGreaterThan(30);
  expect(owned).toBeGreaterThan(10);
  await expect.poll(() => working, { interval: 2 }).toBe(0);
  // Every slot of every place can be had again, once those that were left alone may be asked.
  clock.advance(60_000);
  isCalm = true;
  const last = await Promise.all(
    Array.from({ length: 30 }, async () => text((await cluster.answer(chat(), new AbortController().signal)).body)),
  );
  expect(last.every((said) => said.endsWith(DONE))).toBe(true);
});
