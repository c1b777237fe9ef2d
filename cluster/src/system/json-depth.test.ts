import fc from "fast-check";
import { expect, test } from "vitest";
import { isTooDeep, TEXT_DEPTH_MAX } from "./json-depth.ts";

const LONG = " ".repeat(9_000);
const nested = (levels: number, open = "[", close = "]"): Buffer => Buffer.from(`${LONG}${open.repeat(levels)}${close.repeat(levels)}`);

function depthOf(value: unknown): number {
  return typeof value === "object" && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depthOf)) : 0;
}

test("as deep as is allowed, and one level more", () => {
  expect([TEXT_DEPTH_MAX, TEXT_DEPTH_MAX + 1].map((levels) => isTooDeep(nested(levels)))).toEqual([false, true]);
  expect(isTooDeep(nested(TEXT_DEPTH_MAX + 1, '{"a":', "}"))).toBe(true);
});

test("texts that never close are too deep; brackets in strings are none", () => {
  expect(isTooDeep(Buffer.from("[".repeat(1_000_000)))).toBe(true);
  expect(isTooDeep(Buffer.from(`"${"[".repeat(10_000)}`))).toBe(false);
  expect(isTooDeep(Buffer.from(JSON.stringify(["\\", '"', `\\"${"[{".repeat(10_000)}\\\\`])))).toBe(false);
  expect(isTooDeep(Buffer.from(`${LONG}"\\\\"${"[".repeat(300)}`))).toBe(true);
});

test("of whatever JSON there is, it says what the value says", () => {
  const values = fc.tuple(fc.json({ maxDepth: 6 }), fc.nat(TEXT_DEPTH_MAX + 4));
  fc.assert(
    fc.property(values, ([json, levels]) => {
      const text = `${LONG}${"[".repeat(levels)}${json}${"]".repeat(levels)}`;
      expect(isTooDeep(Buffer.from(text))).toBe(depthOf(JSON.parse(text)) > TEXT_DEPTH_MAX);
    }),
  );
});
