import fc from "fast-check";
import { expect, test } from "vitest";
import { chooseModel, type ModelCandidate } from "./choose.ts";
import { anyLoad, anyModel, anyNeeds, IDLE, lent } from "./fixtures.ts";
import { ModelRates } from "./model-rates.ts";
import { whySentence } from "./why-sentence.ts";

const TERMS = { trip: 2, queue: 0, load: 0, read: 118, write: 880, displace: 0 };

function candidate(node: string, endMs: number, more: Partial<ModelCandidate> & { terms?: Partial<typeof TERMS> } = {}): ModelCandidate {
  const { terms, ...rest } = more;
  const prediction = { firstTokenMs: 120, endMs, tokensPerS: 40, terms: { ...TERMS, ...terms } };
  return { model: lent(node, "m"), group: "m", prediction, cost: endMs, hit: 0, ...rest };
}

test.each([
  [
    "what is cached, and how many are slower",
    candidate("studio", 1_000, { hit: 0.8 }),
    [1_100, 1_200, 9_000],
    "studio: loaded, 80% of the prompt cached there, first token expected in 120 ms; 3 others are slower",
  ],
  ["nothing of others where there are none", candidate("studio", 1_000), [], "studio: loaded, first token expected in 120 ms"],
  [
    "the load and the line",
    candidate("nas", 1_000, { model: lent("nas", "m", { state: "cold" }), terms: { load: 3_210, queue: 450 } }),
    [1_000],
    "nas: to be loaded in 3.2 s, 450 ms in its line, first token expected in 120 ms; 1 other is slower",
  ],
  [
    "the conversation that was there, and not that another one would be quicker",
    candidate("studio", 1_000, { because: "session", hit: 0.004 }),
    [900, 1_100],
    "studio: loaded, first token expected in 120 ms; this conversation was answered there before; 1 other is slower",
  ],
  [
    "the busier one",
    candidate("studio", 1_000, { because: "spread" }),
    [900],
    "studio: loaded, first token expected in 120 ms; another one has more of the prompt cached, and is clearly busier",
  ],
  [
    "the smaller one that is quicker",
    candidate("studio", 1_000, { model: lent("studio", "m", { state: "loading" }) }),
    [900, 800, 2_000],
    "studio: being loaded, first token expected in 120 ms; 1 other is slower; 2 that would be done sooner come behind it",
  ],
])("tells %s", (_what, chosen, ends, sentence) => {
  expect(
    whySentence(
      chosen,
      ends.map((endMs, at) => candidate(`n${at}`, endMs)),
    ),
  ).toBe(sentence);
});

test("Y1: is ASCII on one line for whatever the router chooses", () => {
  const models = fc.array(anyModel, { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(models, anyNeeds, anyLoad, fc.double({ min: 0, max: 1, noNaN: true }), (lending, needs, load, share) => {
      const odd = lending.map((model) => ({ ...model, id: `${model.id}\u5bb6\r\n`, endpoint: "\u00e9" }));
      const choice = chooseModel({
        ...{ groups: [{ name: "\u5bb6", models: odd }], needs, rates: new ModelRates(), requestHash: 1 },
        view: { load: () => ({ ...IDLE, ...load }), hit: () => share, breakerMs: () => 0, forbidden: () => undefined, weight: () => 1 },
      });
      if (choice.kind === "refused") return;
      const [first, ...others] = choice.candidates as [ModelCandidate, ...ModelCandidate[]];
      expect(whySentence(first, others)).toMatch(/^[ -~]+$/);
    }),
  );
});
