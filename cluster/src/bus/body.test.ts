import { expect, test } from "vitest";
import { decodeBody } from "./body.ts";

test.each([
  ["nothing", ""],
  ["half a message", '{"a":'],
  ["a megabyte of brackets", "[".repeat(1_000_000)],
  ["more levels than any value has", `${"[".repeat(2_000)}${"]".repeat(2_000)}`],
])("%s is no message", (_what, text) => {
  expect(decodeBody(Buffer.from(text))).toBeUndefined();
});

test("what is one is read from where it stands in a larger piece of memory", () => {
  const whole = Buffer.from('xx{"a":"ü"}xx');
  expect(decodeBody(whole.subarray(2, whole.length - 2))).toEqual({ a: "ü" });
});
