import { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import fc from "fast-check";
import { expect, test } from "vitest";
import { specBytes } from "./spec-size.ts";

test("a spec is never more than twice as large as it is taken for", () => {
  const input = fc.oneof(
    fc.record({ kind: fc.constant("echo"), input: fc.record({ value: fc.jsonValue({ stringUnit: "binary" }) }) }),
    fc.record({ kind: fc.constant("command"), input: fc.record({ argv: fc.array(fc.string({ unit: "binary" }), { minLength: 1 }) }) }),
    fc.record({ kind: fc.constant("agent"), input: fc.record({ message: fc.string({ minLength: 1, unit: "grapheme" }) }) }),
  );
  fc.assert(
    fc.property(input, (made) => {
      const { success, data } = TaskSpec.safeParse(made);
      fc.pre(success && data !== undefined);
      expect(2 * specBytes(data as TaskSpec)).toBeGreaterThanOrEqual(Buffer.byteLength(JSON.stringify(data)));
    }),
  );
  const controls: TaskSpec = { kind: "echo", input: { value: "\u0001".repeat(100_000) } };
  expect(2 * specBytes(controls)).toBeGreaterThanOrEqual(Buffer.byteLength(JSON.stringify(controls)));
});

test("grows with every part of the input", () => {
  const short = specBytes({ kind: "command", input: { argv: ["ls"] } });
  expect(specBytes({ kind: "command", input: { argv: ["ls"], stdin: "x".repeat(1_000) } })).toBeGreaterThan(short + 3_000);
  expect(specBytes({ kind: "tool", input: { tool: "t", args: { deep: [{ deeper: "x".repeat(1_000) }] } } })).toBeGreaterThan(short + 3_000);
});
