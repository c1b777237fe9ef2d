import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { expect, test } from "vitest";
import { admit, decide, DEFAULT_POLICY, DENY_ALL, Policy } from "./policy.ts";
import { summary } from "./policy-facts.ts";

const model = (name?: string): TaskSpec => ({ kind: "model", input: { prompt: "hello", ...(name !== undefined && { model: name }) } });
const policy = (allow: string[], deny: object = {}): Policy => Policy.parse({ version: 1, allow: { models: allow }, deny });
const NIGHT = { now: Date.UTC(2026, 5, 1, 23), timeZone: "UTC", node: "studio" };

test("what a policy says of tasks of kind model is what it says of lending", () => {
  expect(decide(DEFAULT_POLICY, model())).toEqual({ allow: true, rules: ["allow.models: *"] });
  expect(decide(DENY_ALL, model())).toEqual({ allow: false, reason: "no models are lent" });
  expect(decide(policy(["*"], { kinds: ["model"] }), model())).toMatchObject({ allow: false, rule: "deny.kinds: model" });
  expect(decide(policy(["*"], { models: ["*:70b"] }), model("llama3:70b@studio"))).toEqual({
    allow: false,
    reason: "model llama3:70b is denied",
    rule: "deny.models: *:70b",
  });
  expect(decide(policy(["qwen*"]), model("llama3"))).toEqual({ allow: false, reason: "model llama3 is not allowed" });
});

test.each(["Qwen3:latest", "qwen3", "QWEN3@studio"])("a model may be named as people write it: %s", (name) => {
  for (const rule of ["Qwen3:latest", "qwen*"]) expect(decide(policy([rule]), model(name)).allow).toBe(true);
});

test("in quiet hours none is asked, also not by a task that only this node may run", () => {
  const own = Policy.parse({ version: 1, allow: { models: ["*"] }, hours: { quiet: ["21:00-07:00"], pinned: true } });
  const pinned = { ...model(), require: { nodes: ["studio" as never] } };
  expect(admit(own, { spec: pinned }, NIGHT)).toMatchObject({ allow: false, rule: expect.stringContaining("hours.quiet") as string });
  expect(admit(own, { spec: pinned }, { ...NIGHT, now: Date.UTC(2026, 5, 1, 12) }).allow).toBe(true);
});

test("the kind is not told of: a coordinator of before it would refuse the facts", () => {
  expect(summary(DEFAULT_POLICY, NIGHT).kinds).toEqual(["echo", "agent"]);
});
