import { expect, it } from "vitest";
import { ControlLag } from "./control-lag.ts";

it("is the time since the first entry that a control node has not applied", () => {
  const lag = new ControlLag();
  expect(lag.of("nas", 0)).toBeUndefined();
  lag.wrote(10, 1_000);
  lag.said("nas", 10, 1_010);
  expect(lag.of("nas", 9_000)).toBe(0);
  lag.wrote(11, 9_000);
  lag.wrote(12, 9_400);
  lag.said("nas", 10, 9_500);
  expect(lag.of("nas", 9_500)).toBe(500);
  lag.said("nas", 11, 9_600);
  expect(lag.of("nas", 9_600)).toBe(200);
});

it("stays what it was between two words, and grows when none comes though there is something new", () => {
  const lag = new ControlLag();
  lag.wrote(1, 0);
  lag.said("nas", 1, 0);
  for (let entry = 2; entry <= 20; entry += 1) lag.wrote(entry, entry * 100);
  expect(lag.of("nas", 2_000)).toBe(0);
  expect(lag.of("nas", 8_000)).toBe(7_800);
  lag.said("nas", 20, 8_100);
  expect(lag.of("nas", 100_000)).toBe(0);
});

it("is no less than the truth where entries come fast, and more by one step at most", () => {
  const lag = new ControlLag();
  for (let entry = 1; entry <= 1_000; entry += 1) lag.wrote(entry, entry);
  lag.said("nas", 500, 1_000);
  expect(lag.of("nas", 1_000)).toBeGreaterThanOrEqual(499);
  expect(lag.of("nas", 1_000)).toBeLessThanOrEqual(550);
});

it("knows of a very long one that it is at least as long as it remembers", () => {
  const lag = new ControlLag();
  for (let entry = 1; entry <= 5_000; entry += 1) lag.wrote(entry, entry * 100);
  lag.said("nas", 1, 500_000);
  expect(lag.of("nas", 500_000)).toBeGreaterThan(200_000);
  expect(lag.of("nas", 500_000)).toBeLessThanOrEqual(499_800);
});
