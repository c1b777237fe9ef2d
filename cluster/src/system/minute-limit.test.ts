import { expect, test } from "vitest";
import { HandClock } from "../../../tests/support/hand-clock.ts";
import { MinuteLimit } from "./minute-limit.ts";

test("so many of each name in a minute; the next one that is let through tells how many were not (M1)", () => {
  const clock = new HandClock();
  const limit = new MinuteLimit(clock, 2);
  expect([limit.take("a"), limit.take("a"), limit.take("a"), limit.take("a")]).toEqual([0, 0, undefined, undefined]);
  expect([limit.waitMs("a"), limit.waitMs("b")]).toEqual([60_000, 0]);
  expect(limit.take("b")).toBe(0);
  clock.advance(59_999);
  expect(limit.take("a")).toBeUndefined();
  expect(limit.waitMs("a")).toBe(1);
  clock.advance(1);
  expect(limit.waitMs("a")).toBe(0);
  expect([limit.take("a"), limit.take("a"), limit.take("a")]).toEqual([3, 0, undefined]);
});

test("names beyond the limit push out the first (M2)", () => {
  const limit = new MinuteLimit(new HandClock(), 1);
  for (let n = 0; n < 1_001; n++) expect(limit.take(`n${n}`)).toBe(0);
  expect(limit.take("n1")).toBeUndefined();
  expect(limit.take("n0")).toBe(0);
});
