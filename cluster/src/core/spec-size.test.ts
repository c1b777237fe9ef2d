import { LIMITS } from "@openclaw-cluster/contract/limits";
import { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import fc from "fast-check";
import { expect, test } from "vitest";
import { FIXED_BYTES, specBytes } from "./spec-size.ts";

const text = (maxLength: number) => fc.string({ unit: "binary", minLength: 1, maxLength });
const around = fc.record(
  {
    name: text(64),
    user: text(64),
    fairnessKey: text(64),
    dedupeKey: text(64),
    labels: fc.dictionary(text(64), text(64)),
    require: fc.record({ labels: fc.dictionary(text(64), text(64)), skills: fc.array(text(64)) }, { requiredKeys: [] }),
    prefer: fc.record({ labels: fc.array(fc.record({ name: text(64), value: text(64), weight: fc.integer({ min: -100, max: 100 }) })) }),
  },
  { requiredKeys: [] },
);

test("a spec is never more than twice as large as it is taken for, whatever stands in it", () => {
  const input = fc.oneof(
    fc.record({ kind: fc.constant("echo"), input: fc.record({ value: fc.jsonValue({ stringUnit: "binary" }) }) }),
    fc.record({ kind: fc.constant("command"), input: fc.record({ argv: fc.array(fc.string({ unit: "binary" }), { minLength: 1 }) }) }),
    fc.record({ kind: fc.constant("agent"), input: fc.record({ message: fc.string({ minLength: 1, unit: "grapheme" }) }) }),
  );
  fc.assert(
    fc.property(input, around, (made, more) => {
      const { success, data } = TaskSpec.safeParse({ ...made, ...more });
      fc.pre(success && data !== undefined);
      expect(2 * (specBytes(data as TaskSpec) - FIXED_BYTES)).toBeGreaterThanOrEqual(Buffer.byteLength(JSON.stringify(data)));
    }),
  );
  const labels = Object.fromEntries(Array.from({ length: LIMITS.labelsMax }, (_, n) => [`${n}`, "\u0001".repeat(LIMITS.labelCharsMax)]));
  for (const large of [{ input: { value: "\u0001".repeat(100_000) } }, { input: {}, labels, require: { labels } }]) {
    const controls = TaskSpec.parse({ kind: "echo", ...large });
    expect(2 * specBytes(controls)).toBeGreaterThanOrEqual(Buffer.byteLength(JSON.stringify(controls)));
  }
});

test("grows with every part of the input", () => {
  const short = specBytes({ kind: "command", input: { argv: ["ls"] } });
  expect(specBytes({ kind: "command", input: { argv: ["ls"], stdin: "x".repeat(1_000) } })).toBeGreaterThan(short + 3_000);
  expect(specBytes({ kind: "tool", input: { tool: "t", args: { deep: [{ deeper: "x".repeat(1_000) }] } } })).toBeGreaterThan(short + 3_000);
});
