import { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { expect, test } from "vitest";
import { check } from "./check.ts";

function detail(value: unknown, at = ""): string {
  try {
    check(TaskSpec, value, at);
  } catch (error) {
    expect(error).toBeInstanceOf(ClusterError);
    expect((error as ClusterError).code).toBe("bad_request");
    return (error as ClusterError).detail;
  }
  throw new Error("it was taken");
}

const echo = { kind: "echo", input: {} };

test.each([
  [{ ...echo, comand: 1 }, "unknown field `comand`"],
  [{ ...echo, a: 1, b: 2 }, "unknown fields `a`, `b`"],
  [{ kind: "command", input: { argv: "ls" } }, "input.argv: Invalid input: expected array, received string"],
  [{ kind: "command", input: { argv: ["ls"], shell: true } }, "input: unknown field `shell`"],
  [{ kind: "comand", input: {} }, "kind: Invalid discriminator value. Expected 'echo' | 'command' | 'agent' | 'tool' | 'model'"],
  [{ input: {} }, "kind: Invalid discriminator value. Expected 'echo' | 'command' | 'agent' | 'tool' | 'model'"],
  [
    { ...echo, require: { skills: Array.from({ length: 1_000 }, (_, n) => `s${n}`) } },
    "require.skills: Too big: expected array to have <=32 items",
  ],
  [null, "Invalid input: expected object, received null"],
])("%j", (spec, words) => {
  expect(detail(spec)).toBe(words);
});

test("a union says what each of its branches would have taken", () => {
  const words = detail({ ...echo, priority: "hgh" });
  expect(words).toContain("priority: ");
  expect(words).toContain("expected number");
  expect(words).toContain('"critical"|"high"|"normal"|"low"');
});

test("the place of the value stands before the path", () => {
  expect(detail({ ...echo, retry: { max: -1 } }, "tasks[7]")).toMatch(/^tasks\[7\]\.retry\.max: /);
});

test("however much is wrong, the words are bounded", () => {
  const faults = Object.fromEntries(Array.from({ length: 5_000 }, (_, n) => [`field${n}`.repeat(20), 1]));
  expect(detail({ ...echo, ...faults }).length).toBeLessThan(2_000);
  expect(detail({ kind: "command", input: { argv: Array.from({ length: 200 }, () => 1) } })).toMatch(/; and 192 more$/);
});

test("nesting beyond its limit is an error of the caller", () => {
  const deep = JSON.parse("[".repeat(100_000) + "]".repeat(100_000)) as unknown;
  expect(detail({ kind: "echo", input: { value: deep } })).toBe("input.value: at most 200 levels deep, and no key __proto__");
});
