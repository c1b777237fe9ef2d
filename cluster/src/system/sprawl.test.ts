import { expect, test } from "vitest";
import { z } from "zod";
import { ENTRIES_MAX, problemOf, sprawls } from "./sprawl.ts";

const zeros = (count: number): number[] => Array.from({ length: count }, () => 0);

test("entries count wherever they stand", () => {
  expect(sprawls(zeros(ENTRIES_MAX))).toBe(false);
  expect(sprawls(zeros(ENTRIES_MAX + 1))).toBe(true);
  expect(sprawls({ a: { b: [zeros(ENTRIES_MAX)] } })).toBe(true);
  expect(sprawls(zeros(100).map(() => zeros(300)))).toBe(true);
  expect(sprawls(Object.fromEntries(zeros(ENTRIES_MAX + 1).map((_, n) => [n, 0])))).toBe(true);
  expect([undefined, null, 1, "x".repeat(100_000), {}, []].some((value) => sprawls(value))).toBe(false);
});

test("but not in what may hold anything", () => {
  const value = { outcome: { result: zeros(ENTRIES_MAX + 1) } };
  expect([sprawls(value), sprawls(value, ["result"])]).toEqual([true, false]);
});

test("neither is depth any danger", () => {
  expect(sprawls(JSON.parse(`${"[".repeat(100_000)}${"]".repeat(100_000)}`))).toBe(true);
});

test("of many problems the log hears few words", () => {
  const { error } = z.array(z.string()).safeParse(zeros(1_000));
  expect(problemOf(error as z.ZodError)).toBe(
    `${[0, 1, 2].map((n) => `${n}: Invalid input: expected string, received number`).join("; ")}; and 997 more`,
  );
});
