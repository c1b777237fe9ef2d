import { afterAll, expect, test } from "vitest";
import { systemClock } from "../system/clock.ts";
import { openSchemaCheck } from "./schema-check.ts";

const checks = openSchemaCheck(systemClock);
afterAll(() => checks.close());

const SCHEMA = { type: "object", properties: { n: { type: "integer", minimum: 1 } }, required: ["n"], additionalProperties: false };

test.each<[object, unknown]>([
  [SCHEMA, { n: 1 }],
  [{ type: "array", prefixItems: [{ type: "string" }], items: { type: "number" } }, ["a", 1, 2]],
  [{ $schema: "http://json-schema.org/draft-07/schema#", items: [{ type: "string" }, { type: "number" }] }, ["a", 1]],
  [{ $ref: "#/$defs/tree", $defs: { tree: { type: "object", additionalProperties: { $ref: "#/$defs/tree" } } } }, { a: { b: {} } }],
])("holds to %j: %j", async (schema, value) => {
  expect(await checks.check({ schema, value })).toEqual({ kind: "holds" });
});

test.each<[object, unknown, string, RegExp]>([
  [SCHEMA, {}, "#", /"n"/],
  [SCHEMA, { n: 0 }, "#/n", /1/],
  [SCHEMA, { n: 1, m: 1 }, "#/m", /./],
  [{ items: { pattern: "^a+$" } }, ["a", "b"], "#/1", /pattern/],
])("%j is broken by %j, and where is told", async (schema, value, where, detail) => {
  expect(await checks.check({ schema, value })).toEqual({
    kind: "breaks",
    where,
    detail: expect.stringMatching(detail) as string,
  });
});

test("by what refers to nothing, or to itself for ever, nobody can check", async () => {
  for (const schema of [{ $ref: "#/$defs/none" }, { $ref: "#" }]) {
    expect(await checks.check({ schema, value: {} })).toMatchObject({ kind: "unusable" });
  }
});

test("nothing of a schema is made into code (C1)", async () => {
  const planted = 'x"]; globalThis.planted = true; //';
  await checks.check({ schema: { properties: { [planted]: { const: planted } }, required: [planted] }, value: { [planted]: planted } });
  expect(globalThis).not.toHaveProperty("planted");
});

test("a pattern that never comes to an end is given up, this thread goes on meanwhile, and the next check is done (C2, C3)", async () => {
  let turns = 0;
  const going = setInterval(() => turns++, 10);
  const endless = checks.check({ schema: { pattern: "^(a+)+$" }, value: `${"a".repeat(60)}b` });
  const after = checks.check({ schema: SCHEMA, value: { n: 1 } });
  expect(await endless).toEqual({ kind: "late" });
  expect(await after).toEqual({ kind: "holds" });
  clearInterval(going);
  expect(turns).toBeGreaterThan(3);
});

test("one that takes the memory of a machine ends its thread, and nothing else", async () => {
  const deep = Array.from({ length: 24 }, (_, at) => [
    `a${at}`,
    { allOf: [{ $ref: `#/$defs/a${at + 1}` }, { $ref: `#/$defs/a${at + 1}` }] },
  ]);
  const schema = { $ref: "#/$defs/a0", $defs: { ...Object.fromEntries(deep), a24: { type: "string" } } };
  expect(["unusable", "late", "breaks"]).toContain((await checks.check({ schema, value: 1 })).kind);
  expect(await checks.check({ schema: SCHEMA, value: { n: 1 } })).toEqual({ kind: "holds" });
});
