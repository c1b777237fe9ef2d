import { expect, test } from "vitest";
import { Bucket } from "./bucket.ts";

test("full at the start, it fills with time and never beyond its size", () => {
  const bucket = new Bucket({ max: 10, perSecond: 2 }, 0);
  expect(bucket.take(11, 0)).toBe(false);
  expect(bucket.take(10, 0)).toBe(true);
  expect(bucket.take(1, 499)).toBe(false);
  expect(bucket.take(1, 500)).toBe(true);
  expect(bucket.take(10, 1_000_000)).toBe(true);
  expect(bucket.take(1, 1_000_000)).toBe(false);
});

test("what is given back can be taken again, and is no more than its size", () => {
  const bucket = new Bucket({ max: 10, perSecond: 0 }, 0);
  expect(bucket.take(6, 0)).toBe(true);
  bucket.giveBack(6);
  bucket.giveBack(6);
  expect([bucket.take(10, 0), bucket.take(1, 0)]).toEqual([true, false]);
});
