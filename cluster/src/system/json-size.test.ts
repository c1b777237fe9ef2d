import fc from "fast-check";
import { expect, test } from "vitest";
import { hasMoreThan } from "./json-size.ts";

const counted = (value: unknown): number => {
  if (typeof value !== "object" || value === null) return 0;
  const inner = Object.values(value).reduce<number>((sum, one) => sum + counted(one), 1);
  return Array.isArray(value) ? inner : inner + Object.keys(value).length;
};

test("lists, objects and fields count, and what stands in a text does not", () => {
  const text = Buffer.from('{"a:{[":[1,2,3],"b\\":":{},"c":":[{"}');
  expect([6, 5].map((max) => hasMoreThan(max, text))).toEqual([false, true]);
  expect(hasMoreThan(0, Buffer.from('"[[[{:'))).toBe(false);
});

test("any JSON has as many as it has, not one more", () => {
  fc.assert(
    fc.property(fc.json(), fc.boolean(), (text, isSpaced) => {
      const value: unknown = JSON.parse(text);
      const bytes = Buffer.from(JSON.stringify(value, undefined, isSpaced ? 1 : undefined));
      const count = counted(value);
      expect([hasMoreThan(count, bytes), count > 0 && hasMoreThan(count - 1, bytes)]).toEqual([false, count > 0]);
    }),
  );
});
