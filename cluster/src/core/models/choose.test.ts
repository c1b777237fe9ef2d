import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { LentModel } from "@openclaw-cluster/contract/models";
import { chooseModel, type ModelChoice, type ModelChoosing, type PlaceView } from "./choose.ts";
import { EndpointRoom } from "./endpoint-room.ts";
import { anyLoad, anyModel, anyNeeds, CHAT, IDLE, lent } from "./fixtures.ts";
import { misfit } from "./model-needs.ts";
import { ModelRates } from "./model-rates.ts";
import { placeKey, slotsOf } from "./place.ts";
import { predict } from "./predict.ts";
import { SessionPlaces } from "./session-places.ts";

const OPEN_VIEW: PlaceView = { load: () => IDLE, hit: () => 0, breakerMs: () => 0, forbidden: () => undefined, weight: () => 1 };
const rates = new ModelRates();

function choose(models: readonly LentModel[], view: Partial<PlaceView> = {}, more: Partial<ModelChoosing> = {}): ModelChoice {
  return chooseModel({ groups: [{ name: "m", models }], needs: CHAT, view: { ...OPEN_VIEW, ...view }, rates, requestHash: 1, ...more });
}

function order(choice: ModelChoice): string[] {
  return choice.kind === "chosen" ? choice.candidates.map(({ model }) => model.node) : [];
}

const [a, b, c] = [lent("a", "m"), lent("b", "m"), lent("c", "m")];
const cold = lent("c", "m", { state: "cold" });

describe("the choice", () => {
  it("prefers what is loaded, free, near, and what has read the prompt", () => {
    expect(order(choose([cold, a]))[0]).toBe("a");
    expect(order(choose([a, b], { load: (model) => (model === a ? { ...IDLE, inFlight: 2, inFlightMs: 9_000 } : IDLE) }))[0]).toBe("b");
    expect(order(choose([a, b], { hit: (model) => (model === b ? 0.9 : 0) }))[0]).toBe("b");
    expect(order(choose([a, b], { weight: (model) => (model === a ? 1.5 : 1) }))[0]).toBe("b");
  });

  it("tells its terms", () => {
    const choice = choose([cold], { load: () => ({ ...IDLE, displacesMs: 7 }) });
    expect(choice).toMatchObject({
      kind: "chosen",
      candidates: [{ prediction: { terms: { trip: 1, queue: 0, load: 3_500, displace: 7 } } }],
    });
  });

  it("stays with a conversation's place, unless that is busier, cold or much slower (C3)", () => {
    const lastPlace = placeKey(b);
    const slower = { ...IDLE, roundTripMs: 500 };
    expect(order(choose([a, b], { load: (model) => (model === b ? slower : IDLE) }, { lastPlace }))).toEqual(["b", "a"]);
    expect(
      order(choose([a, b], { load: (model) => (model === b ? { ...slower, beside: 1, inFlight: 1, queued: 1 } : IDLE) }, { lastPlace })),
    ).toEqual(["a", "b"]);
    expect(order(choose([a, b], { load: (model) => (model === b ? { ...slower, roundTripMs: 60_000 } : IDLE) }, { lastPlace }))).toEqual([
      "a",
      "b",
    ]);
    expect(order(choose([a, cold], {}, { lastPlace: placeKey(cold) }))).toEqual(["a", "c"]);
  });

  it("leaves a cached prompt where its place is clearly busier", () => {
    const many = (node: string) => lent(node, "m", { slots: { total: 8, busy: 0 } });
    const load = (model: LentModel) => (model.node === "a" ? { ...IDLE, inFlight: 2 } : IDLE);
    const needs = { ...CHAT, promptTokens: 30_000 };
    const choice = choose([many("a"), many("b")], { hit: (model) => (model.node === "a" ? 1 : 0), load }, { needs });
    expect(choice).toMatchObject({ kind: "chosen", candidates: [{ model: { node: "b" }, because: "spread" }, { model: { node: "a" } }] });
  });

  it("goes through groups in their order, and asks no place twice", () => {
    const groups = [
      { name: "first", models: [cold] },
      { name: "second", models: [a, cold] },
    ];
    expect(order(choose([], {}, { groups }))).toEqual(["c", "a"]);
  });

  it("passes over a group of auto that would be slow (C2)", () => {
    const giant = lent("c", "giant", { sizeBytes: 200e9 });
    const groups = [
      { name: "auto", models: [giant], onlyIfQuick: true },
      { name: "auto", models: [a], onlyIfQuick: true },
    ];
    expect(order(choose([], {}, { groups }))).toEqual(["a", "c"]);
    expect(order(choose([], {}, { groups: groups.slice(0, 1) }))).toEqual(["c"]);
  });

  it("shares the work between equals", () => {
    const firsts = Array.from({ length: 300 }, (_, requestHash) => order(choose([a, b, c], {}, { requestHash }))[0]);
    for (const node of ["a", "b", "c"]) expect(firsts.filter((one) => one === node).length).toBeGreaterThan(60);
  });
});

describe("a refusal", () => {
  const small = [lent("a", "m", { contextTokens: 512 }), lent("b", "m", { contextTokens: 2_048 })];

  it("tells the largest context", () => {
    expect(choose(small)).toMatchObject({
      kind: "refused",
      refusal: { reason: "context_too_small", largestTokens: 2_048, neededTokens: 2_500 },
    });
  });

  it("tells what nobody can, who may not, and when a breaker lets through (W1)", () => {
    expect(choose([a], {}, { needs: { ...CHAT, vision: true } })).toMatchObject({ refusal: { reason: "unable", lacks: "vision" } });
    expect(choose([a, ...small], { forbidden: () => "is not lent to you" })).toMatchObject({
      refusal: { reason: "forbidden", detail: "m@a is not lent to you" },
    });
    expect(choose([a, b], { breakerMs: (model) => (model === a ? 9_000 : 4_000) })).toMatchObject({
      refusal: { reason: "all_breakers_open", retryAfterMs: 4_000 },
    });
    expect(choose([])).toMatchObject({ refusal: { reason: "unable" } });
  });
});

it("never has a candidate that does not fit, may not or is broken, loses none, and does not depend on the order told (C1, C4)", () => {
  const anyPlaces = fc.uniqueArray(
    fc.tuple(anyModel, anyLoad, fc.double({ min: 0, max: 1, noNaN: true }), fc.constantFrom("", "", "", "no", "open")),
    {
      maxLength: 8,
      selector: ([model]) => placeKey(model),
    },
  );
  fc.assert(
    fc.property(anyPlaces, anyNeeds, fc.nat(), fc.option(fc.nat(7)), (places, needs, requestHash, last) => {
      const found = (model: LentModel) => places.find(([one]) => one === model) as (typeof places)[number];
      const view: PlaceView = {
        load: (model) => found(model)[1],
        hit: (model) => found(model)[2],
        forbidden: (model) => (found(model)[3] === "no" ? "no" : undefined),
        breakerMs: (model) => (found(model)[3] === "open" ? 1 : 0),
        weight: () => 1,
      };
      const models = places.map(([model]) => model);
      const lastModel = last === null ? undefined : models[last];
      const more = { needs, requestHash, lastPlace: lastModel && placeKey(lastModel) };
      const choice = choose(models, view, more);
      const chosen = choice.kind === "chosen" ? choice.candidates.map(({ model }) => model) : [];
      for (const model of chosen) {
        expect(misfit(model, needs)).toBeUndefined();
        expect(found(model)[3]).toBe("");
      }
      expect(new Set([...chosen, ...choice.passedOver.map(({ model }) => model)])).toEqual(new Set(models));
      const again = choose(models.toReversed(), view, more);
      expect(again.kind === "chosen" ? again.candidates.map(({ model }) => model) : []).toEqual(chosen);
    }),
  );
});

it("predicts nothing earlier for more work, a longer prompt or less of it cached (T1)", () => {
  const share = fc.double({ min: 0, max: 1, noNaN: true });
  fc.assert(
    fc.property(anyModel, anyNeeds, anyLoad, share, share, fc.nat(10_000), (model, needs, load, one, other, more) => {
      const end = (with_: Partial<typeof load>, tokens: number, hit: number): number =>
        predict(model, { ...needs, promptTokens: needs.promptTokens + tokens }, { ...load, ...with_ }, hit, rates).endMs;
      const base = end({}, 0, one);
      expect(base).toBeGreaterThan(0);
      expect(end({}, more, one)).toBeGreaterThanOrEqual(base);
      expect(end({ queued: load.queued + 1, queuedMs: load.queuedMs + more }, 0, one)).toBeGreaterThanOrEqual(base);
      expect(end({}, 0, Math.min(one, other))).toBeGreaterThanOrEqual(end({}, 0, Math.max(one, other)));
    }),
  );
});

it("knows what a load puts away, and what is missed (O1, O2)", () => {
  const room = new EndpointRoom();
  const [hot, idle, wanted] = [lent("a", "hot"), lent("a", "idle"), lent("a", "wanted", { state: "cold" })];
  const models = [hot, idle, wanted, lent("b", "far")];
  room.saw(models);
  room.used(hot, 1_000);
  expect(room.displacesMs(wanted, models, rates, 1_000)).toBe(0); // Only `idle` goes.
  room.used(idle, 2_000);
  expect(room.displacesMs(wanted, models, rates, 2_000)).toBeGreaterThan(rates.loadMs(hot));
  expect(room.displacesMs(hot, models, rates, 2_000)).toBe(0);
  room.saw([hot, idle, { ...wanted, state: "loaded" }]);
  expect(room.displacesMs(wanted, models, rates, 2_000)).toBe(0);
});

it("remembers a session's place, bounded in time and number (S1)", () => {
  const sessions = new SessionPlaces();
  sessions.remember("s", a, 0);
  expect(sessions.last("s", 1_000)).toBe(placeKey(a));
  expect(sessions.last("s", 3_600_000)).toBeUndefined();
  for (let i = 0; i < 10_000; i++) sessions.remember(`s${i}`, b, 0);
  expect(sessions.last("s", 0)).toBeUndefined();
});

it("has slots by the server's kind where it does not tell (P1)", () => {
  expect(slotsOf({ server: "llamacpp" })).toBe(1);
  expect(slotsOf({ server: "ollama", slots: { total: 3, busy: 0 } })).toBe(3);
  expect(placeKey({ ...a, endpoint: "x/y", id: "z" })).not.toBe(placeKey({ ...a, endpoint: "x", id: "y/z" }));
});
