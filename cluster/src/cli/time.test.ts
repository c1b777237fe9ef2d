import { describe, expect, it } from "vitest";
import { age, duration, mebibytes } from "./time.ts";

describe("times for people", () => {
  it.each([
    [0, "0ms"],
    [840, "840ms"],
    [3_240, "3.2s"],
    [9_999, "9.9s"],
    [42_500, "42s"],
    [60_000, "1m"],
    [310_000, "5m10s"],
    [3_600_000, "1h"],
    [11_100_000, "3h5m"],
    [352_800_000, "4d2h"],
    [-5, "0s"],
  ])("%i ms took %s", (ms, text) => expect(duration(ms)).toBe(text));

  it.each([
    [0, "0s"],
    [59_999, "59s"],
    [60_000, "1m"],
    [86_400_000 * 3, "3d"],
  ])("%i ms ago is %s", (ms, text) => expect(age(1_000_000_000_000 - ms, 1_000_000_000_000)).toBe(text));

  it("says now for what a fast clock dates into the future", () => expect(age(2_000, 1_000)).toBe("0s"));

  it("gives memory one unit", () => expect([0, 0.0625, 512, 16_000].map(mebibytes)).toEqual(["0 MiB", "64 KiB", "512 MiB", "15.6 GiB"]));
});
