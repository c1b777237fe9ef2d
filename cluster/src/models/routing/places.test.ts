import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { HandClock } from "../../../../tests/support/hand-clock.ts";
import { lent } from "../../core/models/fixtures.ts";
import type { Waiting } from "../../core/models/model-queue.ts";
import { RouteRefusal } from "../models.ts";
import { Places } from "./places.ts";

const never = new AbortController().signal;
const waiting = (id: string, user = "ann"): Waiting => ({ id, user, lane: "interactive", workMs: 100 });
const MODEL = lent("one", "m", { slots: { total: 2, busy: 0 } });

/** Those that have had their turn, in its order. */
function stage(): {
  places: Places;
  clock: HandClock;
  began: string[];
  enter: (id: string, user?: string, signal?: AbortSignal) => Promise<unknown>;
} {
  const clock = new HandClock();
  const places = new Places(clock);
  const began: string[] = [];
  const enter = (id: string, user = "ann", signal = never): Promise<unknown> =>
    places.enter({ model: MODEL, request: waiting(id, user), waitMs: 60_000 }, signal).then(
      () => began.push(id),
      (error: unknown) => error,
    );
  return { places, clock, began, enter };
}

test("as many at work as there are slots, the others in turn by user", async () => {
  const { places, began, enter } = stage();
  for (const id of ["a1", "a2", "a3", "a4"]) void enter(id);
  void enter("b1", "bob");
  await turn();
  expect(began).toEqual(["a1", "a2"]);
  expect(places.load(MODEL, 1, 0)).toMatchObject({ inFlight: 2, queued: 3, inFlightMs: 200, queuedMs: 300 });
  for (const id of ["a1", "a2", "b1"]) {
    places.leave(MODEL, id);
    await turn();
  }
  expect(began).toEqual(["a1", "a2", "b1", "a3", "a4"]);
  for (const id of ["a3", "a4"]) places.leave(MODEL, id);
  expect(places.load(MODEL, 1, 0)).toMatchObject({ inFlight: 0, queued: 0 });
});

test("to leave twice, or without having come, is nothing", async () => {
  const { places, began, enter } = stage();
  places.leave(MODEL, "nobody");
  for (const id of ["a1", "a2", "a3", "a4"]) void enter(id);
  await turn();
  places.leave(MODEL, "a1");
  places.leave(MODEL, "a1");
  places.leave(MODEL, "nobody");
  await turn();
  expect(began).toEqual(["a1", "a2", "a3"]);
});

test("who is given up leaves the line, with the reason; at work it keeps its slot until it is left", async () => {
  const { places, began, enter } = stage();
  const [working, queued] = [new AbortController(), new AbortController()];
  void enter("a1", "ann", working.signal);
  void enter("a2");
  const gone = enter("a3", "ann", queued.signal);
  void enter("a4");
  await turn();
  queued.abort("gone");
  working.abort("gone");
  expect(await gone).toBe("gone");
  expect(began).toEqual(["a1", "a2"]);
  places.leave(MODEL, "a1");
  await turn();
  expect(began).toEqual(["a1", "a2", "a4"]);
  expect(await enter("a5", "ann", AbortSignal.abort("before"))).toBe("before");
  expect(places.load(MODEL, 1, 0)).toMatchObject({ inFlight: 2, queued: 0 });
});

test("more than the line takes is refused, and says when to come again", async () => {
  const { enter, began } = stage();
  const answers = Array.from({ length: 35 }, (_, at) => enter(`a${at}`));
  const refused = await answers.at(-1);
  expect(refused).toBeInstanceOf(RouteRefusal);
  expect(refused).toMatchObject({ status: 429, code: "overloaded" });
  expect((refused as RouteRefusal).retryAfterMs).toBeGreaterThanOrEqual(1_000);
  // Another user still finds room.
  void enter("b1", "bob");
  await turn();
  expect(began).toEqual(["a0", "a1"]);
});

test("more slots, as the server tells, let more begin; other models of the endpoint are seen beside", async () => {
  const { places, clock, began, enter } = stage();
  for (const id of ["a1", "a2", "a3"]) void enter(id);
  await turn();
  expect(began).toHaveLength(2);
  void places.enter({ model: { ...MODEL, slots: { total: 4, busy: 2 } }, request: waiting("a4"), waitMs: 60_000 }, never);
  await turn();
  expect(began).toEqual(["a1", "a2", "a3"]);
  clock.advance(30);
  expect(places.load({ ...MODEL, id: "n" }, 1, 7)).toMatchObject({
    inFlight: 0,
    beside: 4,
    besideMs: 4 * 70,
    displacesMs: 7,
    roundTripMs: 1,
  });
  expect(places.load({ ...MODEL, id: "n", endpoint: "vllm" }, 1, 0)).toMatchObject({ beside: 0 });
  expect(places.load({ ...MODEL, node: lent("two", "m").node }, 1, 0)).toMatchObject({ inFlight: 0, beside: 0 });
});
