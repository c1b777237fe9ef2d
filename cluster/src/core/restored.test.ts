/** R1–R3: what was open in a backup has no lease, no number that was given, and no second run that may do harm. */
import type { TaskState } from "@openclaw-cluster/contract/task";
import type { OnLost, TaskSpec } from "@openclaw-cluster/contract/task-spec";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { restored } from "./restored.ts";
import { id, task } from "./scheduling/fixtures.ts";
import type { TaskRecord } from "./task.ts";

const NOW = 1_000;
const LEASED: readonly TaskState[] = ["leased", "running", "cancelling"];
const specs: Record<"command" | "agent", TaskSpec> = {
  command: { kind: "command", input: { argv: ["true"] } },
  agent: { kind: "agent", input: { message: "Write to Ann." } },
};

function open(state: TaskState, kind: keyof typeof specs, onLost?: OnLost): TaskRecord {
  const leased = LEASED.includes(state);
  const lease = { node: id("ada"), epoch: 3, offeredAt: 5 };
  const spec = { ...specs[kind], ...(onLost !== undefined && { onLost }) } as TaskSpec;
  return task(1, { state, spec, attempt: leased ? 2 : 1, ...(leased && { lease }) });
}

describe("what may have run since", () => {
  it.each([
    ["command", undefined, "queued"],
    ["command", "retry", "queued"],
    ["command", "ask", "waiting"],
    ["command", "fail", "failed"],
    ["agent", undefined, "waiting"],
    ["agent", "retry", "queued"],
  ] as const)("a %s with onLost %s is %s", (kind, onLost, state) => {
    for (const before of ["queued", "leased", "running"] as const)
      expect(restored(open(before, kind, onLost), { attempt: 9, untouched: false }, NOW).task).toMatchObject({ state, attempt: 9 });
  });

  it("stays as it was where it is known to be untouched", () => {
    for (const onLost of [undefined, "retry", "ask", "fail"] as const) {
      const before = open("queued", "agent", onLost);
      expect(restored(before, { attempt: before.attempt, untouched: true }, NOW)).toEqual({ task: before });
    }
  });

  it("is cancelled where that was asked for, and waits on where a person was asked", () => {
    expect(restored(open("cancelling", "command"), { attempt: 2, untouched: false }, NOW).task.state).toBe("cancelled");
    expect(restored(open("waiting", "agent"), { attempt: 1, untouched: false }, NOW).task.state).toBe("waiting");
  });
});

it("R1, R3: no lease is left, each that was has its end, and no number is given again", () => {
  const anyTask = fc.record({
    state: fc.constantFrom<TaskState>("scheduled", "queued", "leased", "running", "waiting", "cancelling"),
    kind: fc.constantFrom("command" as const, "agent" as const),
    onLost: fc.constantFrom<OnLost | undefined>(undefined, "retry", "ask", "fail"),
    attempt: fc.nat({ max: 20 }),
    untouched: fc.boolean(),
  });
  fc.assert(
    fc.property(anyTask, ({ state, kind, onLost, attempt, untouched }) => {
      const before = open(state, kind, onLost);
      const { task: after, ended } = restored(before, { attempt, untouched }, NOW);
      expect(after.lease).toBeUndefined();
      expect(ended?.n).toBe(before.lease === undefined ? undefined : before.attempt);
      expect(after.attempt).toBe(Math.max(before.attempt, attempt));
      // The view would show the placement as that of an attempt which nobody here knows.
      if (after.attempt > before.attempt) expect(after.placement).toBeUndefined();
    }),
  );
});
