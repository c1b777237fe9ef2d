import { expect, test } from "vitest";
import { jsonFault } from "./json-fault.ts";

test.each([
  ["", "expected a value at line 1 column 1"],
  ["{", "expected a field name or } at line 1 column 2"],
  ['{"a" 1}', "expected : at line 1 column 6"],
  ['{"a": 1,}', "expected a field name at line 1 column 9"],
  ['{\n  "tasks": [\n    {"kind": }]}', "expected a value at line 3 column 14"],
  ["[1, 2", "expected , or ] at line 1 column 6"],
  ['{"a": {"b": [1, "two\\q"]}}', "expected a value at line 1 column 17"],
  ["[01]", "expected , or ] at line 1 column 3"],
  ["{} {}", "expected the end at line 1 column 4"],
  ["nul", "expected a value at line 1 column 1"],
  ["'a'", "expected a value at line 1 column 1"],
])("%j: %s", (text, fault) => {
  expect(() => JSON.parse(text) as unknown).toThrow(SyntaxError);
  expect(jsonFault(text)).toBe(fault);
});

test("text that is JSON is read to its end, whatever it holds", () => {
  const text = ' {"a": [1, -2.5e+3, true, false, null, "x\\u00e9\\n", {}, []], "b": {"c": []}} ';
  expect(JSON.parse(text)).toBeDefined();
  expect(jsonFault(text)).toBe(`expected the end at line 1 column ${text.length + 1}`);
});

test("a hundred thousand levels and a megabyte of string are no danger", () => {
  expect(jsonFault("[".repeat(100_000))).toBe("expected a value or ] at line 1 column 100001");
  expect(jsonFault(`["${"a\\n".repeat(350_000)}" x`)).toContain("expected , or ]");
});
