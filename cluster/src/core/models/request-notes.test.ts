import type { NodeId } from "@openclaw-cluster/contract/ids";
import { MODEL_REQUESTS, ModelPlan, ModelRequestRecord } from "@openclaw-cluster/contract/model-requests";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { chooseModel, type ModelChoice } from "./choose.ts";
import { CHAT, IDLE, lent } from "./fixtures.ts";
import { ModelFigures } from "./model-figures.ts";
import { ModelRates } from "./model-rates.ts";
import { NotedRequest, type AskedFor } from "./request-notes.ts";
import { planOf } from "./request-views.ts";

const ASKED: AskedFor = {
  ...{ id: "abcdefg2", at: 1_700_000_000_000, user: "ann", lane: "interactive", path: "/chat/completions", name: "m" },
  ...{ promptTokens: 2_000, outputTokens: 500, streams: true },
};
const studio = lent("studio", "m");
const gaming = lent("gaming", "m", { state: "cold" });

function opened(asked: Partial<AskedFor> = {}): { notes: NotedRequest; figures: ModelFigures; ends: () => number } {
  const figures = new ModelFigures();
  let ends = 0;
  return { notes: new NotedRequest({ ...ASKED, ...asked }, 1_000, figures, () => ends++), figures, ends: () => ends };
}

/** What is in the record fits the contract, whatever was told. */
const recordOf = (notes: NotedRequest): ModelRequestRecord => {
  const record = notes.record();
  expect(ModelRequestRecord.safeParse(record).error).toBeUndefined();
  return record;
};

const choose = (models = [studio, gaming], forbidden: (node: string) => string | undefined = () => undefined): ModelChoice =>
  chooseModel({
    ...{ groups: [{ name: "m", models }], needs: CHAT, rates: new ModelRates(), requestHash: 7 },
    view: {
      ...{ load: () => IDLE, breakerMs: () => 0, weight: () => 1 },
      hit: ({ node }) => (node === "studio" ? 0.8 : 0),
      forbidden: ({ node }) => forbidden(node),
    },
  });

describe("a request that is answered", () => {
  test("tells of each step where it stands, and at its end where the time went", () => {
    const { notes, ends } = opened({ on: "studio" as NodeId });
    expect(recordOf(notes)).toMatchObject({ state: "waiting", attempts: [], candidates: [], on: "studio", name: "m" });
    notes.chose(choose());
    notes.waits(studio, 1_000);
    expect(recordOf(notes)).toMatchObject({ state: "waiting", attempts: [{ node: "studio", waitedMs: 0 }] });
    notes.turn(studio, 1_200);
    expect(recordOf(notes)).toMatchObject({ state: "asked", waitedMs: 200 });
    notes.firstToken(1_500);
    expect(recordOf(notes)).toMatchObject({ state: "answering", attempts: [{ firstTokenMs: 300 }] });
    expect(ends()).toBe(0);
    notes.over("answered", 100, 3_500);
    const { id: _id, candidates, ...record } = recordOf(notes);
    expect(record).toEqual({
      ...{ at: ASKED.at, endedAt: ASKED.at + 2_500, user: "ann", lane: "interactive", path: "/chat/completions", name: "m", on: "studio" },
      ...{ promptTokens: 2_000, outputTokens: 500, streams: true, state: "answered", passedOver: [], waitedMs: 200 },
      attempts: [
        {
          ...{ node: "studio", endpoint: "ollama", model: "m", waitedMs: 200, firstTokenMs: 300 },
          ...{ tokens: 100, tokensPerS: 50, ending: "answered" },
        },
      ],
    });
    expect(candidates.map(({ node, cachedShare, state }) => [node, cachedShare, state])).toEqual([
      ["studio", 0.8, "loaded"],
      ["gaming", 0, "cold"],
    ]);
    expect(ends()).toBe(1);
  });

  test("N3: at the second place keeps what was thought at first, and what each of them did", () => {
    const { notes, figures } = opened();
    notes.chose(choose());
    notes.waits(studio, 1_000);
    notes.turn(studio, 1_000);
    notes.failed("unreachable", "connection refused", 1_010);
    expect(recordOf(notes).state).toBe("waiting");
    notes.chose(choose([gaming]));
    notes.waits(gaming, 1_010);
    notes.turn(gaming, 1_060);
    notes.over("answered", 7, 9_000);
    const { candidates, attempts, waitedMs } = recordOf(notes);
    expect(candidates.map(({ node }) => node)).toEqual(["studio", "gaming"]);
    expect(attempts).toMatchObject([
      { node: "studio", ending: "unreachable", error: "connection refused", waitedMs: 0 },
      { node: "gaming", ending: "answered", tokens: 7, waitedMs: 50 },
    ]);
    // It came as one piece: nobody knows how quickly it was written.
    expect(attempts[1]).not.toHaveProperty("tokensPerS");
    expect(waitedMs).toBe(50);
    expect(figures.all().map(({ node, endings, tokens }) => [node, [...endings], tokens])).toEqual([
      ["studio", [["unreachable", 1]], 0],
      ["gaming", [["answered", 1]], 7],
    ]);
  });

  test("that moved to another line takes along what it has waited", () => {
    const { notes, figures } = opened();
    notes.waits(studio, 1_000);
    notes.waits(gaming, 1_400);
    notes.turn(gaming, 1_500);
    expect(recordOf(notes)).toMatchObject({ waitedMs: 500, attempts: [{ node: "gaming", waitedMs: 500 }] });
    notes.over("given_up", undefined, 1_600);
    expect(recordOf(notes)).toMatchObject({ state: "given_up", attempts: [{ ending: "given_up" }] });
    expect(figures.all().map(({ node }) => node)).toEqual(["gaming"]);
  });
});

describe("a request that is not answered", () => {
  test("tells of the lines that were full, which say nothing of their places", () => {
    const { notes, figures, ends } = opened();
    notes.chose(choose());
    notes.waits(studio, 1_000);
    notes.failed("given_up", "m on studio has too many requests that wait.", 1_000);
    notes.refused("overloaded", "all lines are full", 1_001);
    expect(recordOf(notes)).toMatchObject({
      ...{ state: "failed", refusal: { code: "overloaded", message: "all lines are full" } },
      attempts: [{ node: "studio", ending: "given_up", error: "m on studio has too many requests that wait." }],
    });
    expect(figures.all()).toEqual([]);
    expect(ends()).toBe(1);
  });

  test("tells of those that were passed over, in a plan too", () => {
    const { notes } = opened();
    const models = Array.from({ length: 40 }, (_, n) => lent(`n${n}`, "m"));
    const choice = choose(models, () => "is not lent to ann");
    notes.chose(choice);
    notes.refused("policy_denied", "nobody lends it to ann", 1_000);
    const { passedOver, passedOverMore, candidates } = recordOf(notes);
    expect(candidates).toEqual([]);
    expect(passedOver).toHaveLength(MODEL_REQUESTS.passedOverMax);
    expect(passedOver[0]).toMatchObject({ model: "m", code: "forbidden", detail: "is not lent to ann" });
    expect(passedOverMore).toBe(8);
    const plan = planOf(choice);
    expect(ModelPlan.parse(plan)).toMatchObject({ passedOverMore: 8, refusal: { code: "policy_denied" } });
    expect(planOf(choose())).not.toHaveProperty("refusal");
  });

  test.each(["wrong", "cut"] as const)("%s is a failure", (how) => {
    const { notes, figures } = opened();
    notes.turn(studio, 1_000);
    notes.firstToken(1_100);
    notes.over(how, 40, 2_000);
    expect(recordOf(notes)).toMatchObject({ state: "failed", attempts: [{ ending: how, tokens: 40 }] });
    // How far a cut answer had come says little of its speed.
    expect(figures.all()[0]?.tokensPerS.sum).toBe(0);
  });
});

test("N2: what is told after the end changes nothing", () => {
  const { notes, figures, ends } = opened();
  notes.turn(studio, 1_000);
  notes.over("answered", 1, 2_000);
  const before = JSON.stringify([recordOf(notes), figures.all()]);
  notes.waits(gaming, 3_000);
  notes.turn(gaming, 3_000);
  notes.firstToken(3_000);
  notes.failed("silent", "late", 3_000);
  notes.over("cut", 9, 3_000);
  notes.refused("node_lost", "late", 3_000);
  expect(JSON.stringify([recordOf(notes), figures.all()])).toBe(before);
  expect(ends()).toBe(1);
});

test("N1: of more attempts than the contract has, the first ones and the last are kept", () => {
  const { notes } = opened();
  for (let n = 0; n < 20; n++) {
    notes.turn(lent(`n${n}`, "m"), 1_000);
    notes.failed("silent", "", 1_000);
  }
  const nodes = recordOf(notes).attempts.map(({ node }) => node);
  expect([nodes.length, nodes[0], nodes.at(-2), nodes.at(-1)]).toEqual([MODEL_REQUESTS.attemptsMax, "n0", "n14", "n19"]);
});

test("N1: whatever names and messages are, and whatever the order of what is told, the record fits the contract", () => {
  const long = (char: string): string => char.repeat(400);
  const odd = lent("studio", long("\ud83d\ude00"), { endpoint: long("e") });
  const places = [studio, gaming, odd];
  const acts = fc.array(fc.tuple(fc.nat(7), fc.nat(2), fc.nat(1_000)), { maxLength: 60 });
  fc.assert(
    fc.property(acts, (told) => {
      const { notes, ends } = opened({ name: [1], user: long("u") });
      notes.chose(choose([odd, studio], (node) => (node === "studio" ? long("f") : undefined)));
      let now = 1_000;
      for (const [act, at, ms] of told) {
        now += ms;
        const place = places[at] as (typeof places)[number];
        if (act <= 1) notes.waits(place, now);
        else if (act <= 3) notes.turn(place, now);
        else if (act === 4) notes.firstToken(now);
        else if (act === 5) notes.failed("faulty", long("\ud83d\ude00"), now);
        else if (act === 6 && ms % 8 === 0) notes.over("answered", ms, now);
        else if (act === 7 && ms % 8 === 0) notes.refused(long("c"), long("m"), now);
      }
      const { endedAt, waitedMs } = recordOf(notes);
      expect(ends()).toBe(endedAt === undefined ? 0 : 1);
      expect(waitedMs).toBeLessThanOrEqual(now - 1_000);
      expect(recordOf(notes).name).toBe("");
    }),
  );
});
