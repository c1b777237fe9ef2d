import { ClusterError } from "@openclaw-cluster/contract/errors";
import { JSON_DEPTH_MAX, type Json } from "@openclaw-cluster/contract/json";
import { Outcome } from "@openclaw-cluster/contract/wire";
import { describe, expect, it } from "vitest";
import { crashed, weigh } from "./outcome.ts";

const nested = (levels: number): Json => (levels === 0 ? 1 : [nested(levels - 1)]);

describe("an outcome that is weighed can be told", () => {
  const poisons: readonly (readonly [what: string, value: Json])[] = [
    ["a level too many", nested(JSON_DEPTH_MAX + 1)],
    ["levels beyond the stack", Array.from({ length: 100_000 }).reduce<Json>((inner) => [inner], 1)],
    ["a key __proto__", JSON.parse('{"a":[{"__proto__":{"b":1}}]}') as Json],
  ];

  it.each(poisons)("where its result has %s", (_what, result) => {
    const { outcome, bytes } = weigh({ kind: "succeeded", result });
    expect(outcome).toMatchObject({ kind: "failed", error: { code: "result_too_large" } });
    expect(Outcome.safeParse(outcome).success).toBe(true);
    expect(bytes).toBe(Buffer.byteLength(JSON.stringify(outcome)));
  });

  it.each(poisons)("where its error's data has %s", (_what, value) => {
    const { outcome } = weigh({ kind: "failed", error: { code: "tool_failed", message: "no", data: { value } } });
    expect(outcome).toEqual({ kind: "failed", error: { code: "tool_failed", message: "no", data: { leftOut: true } } });
  });

  it.each([nested(JSON_DEPTH_MAX), { text: "\ud800\0", list: [null, true, -1.5] }, "word", 0, null])(
    "and is left as it is: %#",
    (result) => {
      expect(weigh({ kind: "succeeded", result }).outcome).toEqual({ kind: "succeeded", result });
    },
  );
});

it("an executor's fault is the worker's, but for one that found no room to begin", () => {
  expect(crashed(new TypeError("no"))).toEqual({ kind: "failed", error: { code: "worker_failed", message: "no" } });
  const refused = { kind: "refused", error: { code: "disk_full", message: "no room" } };
  expect(crashed(new ClusterError("disk_full", "no room"))).toEqual(refused);
});
