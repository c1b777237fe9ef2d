import { expect, test } from "vitest";
import { lent } from "./fixtures.ts";
import { Histogram, ModelFigures, SERIES_MAX } from "./model-figures.ts";

test("a histogram has each value in the first bucket that holds it, and what is beyond all in the last", () => {
  const histogram = new Histogram([1, 2]);
  for (const value of [0, 1, 1.5, 2, 2.1, 99]) histogram.add(value);
  expect([histogram.counts, histogram.sum]).toEqual([[2, 2, 2], 105.6]);
});

test("two endpoints of a node with the same model are one (F2), two models or two nodes are two", () => {
  const figures = new ModelFigures();
  for (const place of [lent("a", "m"), lent("a", "m", { endpoint: "spare" }), lent("a", "n"), lent("b", "m")]) {
    figures.firstToken(place, 250);
    figures.ended(place, "answered");
    figures.wrote(place, 10, 20);
    figures.wrote(place, 5, undefined);
  }
  figures.ended(lent("a", "m"), "cut");
  const told = figures.all().map(({ node, model, endings, tokens, firstTokenS, tokensPerS }) => ({
    ...{ node, model, endings: Object.fromEntries(endings), tokens, firstTokenS: firstTokenS.sum, tokensPerS: tokensPerS.sum },
  }));
  const once = { endings: { answered: 1 }, tokens: 15, firstTokenS: 0.25, tokensPerS: 20 };
  expect(told).toEqual([
    { node: "a", model: "n", ...once },
    { node: "b", model: "m", ...once },
    { node: "a", model: "m", endings: { answered: 2, cut: 1 }, tokens: 30, firstTokenS: 0.5, tokensPerS: 40 },
  ]);
});

test("F1: those that were silent for longest are forgotten", () => {
  const figures = new ModelFigures();
  for (let n = 0; n < SERIES_MAX; n++) figures.ended(lent("a", `m${n}`), "answered");
  figures.ended(lent("a", "m0"), "answered");
  figures.ended(lent("a", "new"), "answered");
  const models = figures.all().map(({ model }) => model);
  expect(models).toHaveLength(SERIES_MAX);
  expect(models.slice(-2)).toEqual(["m0", "new"]);
  expect(models).not.toContain("m1");
});
