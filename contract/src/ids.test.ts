import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ClusterId, NodeId, TaskId, taskId, taskKey } from "./ids.ts";

/** What would widen a NATS subject, leave a folder, or split a line if it stood in an id. */
const HARMFUL = ["", " ", "a b", "a.b", "*", ">", "a*", "../a", "a/b", "a\\b", "a\n", "a\0", "ä", "节点", "%2e", "A", "a-b", "a_b"];

describe("NodeId", () => {
  it.each(["a", "studio", "nas2", "0", "x".repeat(32)])("takes %j", (id) => {
    expect(NodeId.parse(id)).toBe(id);
  });

  it.each([...HARMFUL, "x".repeat(33)])("refuses %j", (id) => {
    expect(NodeId.safeParse(id).success).toBe(false);
  });
});

describe("TaskId", () => {
  it("and the store's key are two forms of one number", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 999_999_999_999_999 }), (key) => {
        expect(taskKey(TaskId.parse(taskId(key)))).toBe(key);
      }),
    );
  });

  it.each([...HARMFUL, "t", "t0", "t01", "T1", "1", "t-1", "t1.5", "t1e3", `t${"9".repeat(16)}`])("refuses %j", (id) => {
    expect(TaskId.safeParse(id).success).toBe(false);
  });
});

describe("ClusterId", () => {
  it.each(["", "abc", "abcd1234x", "ABCD1234", "abcd.234"])("refuses %j", (id) => {
    expect(ClusterId.safeParse(id).success).toBe(false);
  });
});
