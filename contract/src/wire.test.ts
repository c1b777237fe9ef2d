import { describe, expect, it } from "vitest";
import { permits, Scope } from "./scopes.ts";
import { TaskState, TERMINAL } from "./task.ts";
import { AttemptRef, Control, Heartbeat, Offers, Outcome, Report } from "./wire.ts";

const ref = { task: "t42", attempt: 1, epoch: 3 };
const finished = { ...ref, endedAt: 2_000, runMs: 12.5, outcome: { kind: "succeeded", result: { ok: true } } };
const report = { boot: 1, n: 1, started: [{ ...ref, at: 1_000 }], progressed: [], finished: [finished] };

describe("messages between coordinator and worker", () => {
  it.each([
    [Offers, { epoch: 3, boot: 1, offers: [{ ...ref, spec: { kind: "echo", input: {} } }] }],
    [Control, { kind: "cancel", epoch: 3, attempts: [ref] }],
    [Report, report],
    [Heartbeat, { node: "nas2", boot: 1, n: 1, load: { cpu: 0.5, memoryFreeMiB: 1, diskFreeMiB: 1, running: 0, held: 0 }, held: [ref] }],
  ])("survive JSON as they were", (schema, message) => {
    expect(schema.parse(JSON.parse(JSON.stringify(message)))).toEqual(message);
  });

  it.each([
    ["a task that is not one", { ...ref, task: "t0" }],
    ["attempt zero", { ...ref, attempt: 0 }],
    ["no epoch", { task: "t42", attempt: 1 }],
    ["an epoch before the first", { ...ref, epoch: 0 }],
  ])("name their attempt: %s is refused", (_what, bad) => {
    expect(AttemptRef.safeParse(bad).success).toBe(false);
    expect(Report.safeParse({ ...report, started: [{ ...bad, at: 1 }] }).success).toBe(false);
  });

  it.each([
    ["an outcome of another kind", { kind: "lost" }],
    ["a failure without an error", { kind: "failed" }],
    ["a failure with a code of its own", { kind: "failed", error: { code: "oops", message: "x" } }],
    ["a message without end", { kind: "failed", error: { code: "internal", message: "x".repeat(4_097) } }],
  ])("refuse %s", (_what, outcome) => {
    expect(Outcome.safeParse(outcome).success).toBe(false);
  });
});

describe("TERMINAL", () => {
  it("holds the three states that are never left", () => {
    expect(TaskState.options.filter((state) => TERMINAL.has(state))).toEqual(["succeeded", "failed", "cancelled"]);
  });
});

describe("permits", () => {
  it("gives each scope what stands before it", () => {
    const table = Scope.options.map((held) => Scope.options.filter((needed) => permits(held, needed)));
    expect(table).toEqual(Scope.options.map((_scope, index) => Scope.options.slice(0, index + 1)));
  });
});
