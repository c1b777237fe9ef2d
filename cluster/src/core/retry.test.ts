/** B1–B4: lives of tasks that only ever fail, whatever the failures and wherever they happen. */
import { ErrorCode, ERRORS } from "@openclaw-cluster/contract/errors";
import { taskId, type NodeId } from "@openclaw-cluster/contract/ids";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { Finished, Outcome } from "@openclaw-cluster/contract/wire";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ring } from "./alarms.ts";
import { BACKOFF_MS_MAX, pauseMs, RETRIES_DEFAULT, RETRY_AFTER_MS_MAX, THROTTLED_BACKOFF_MS } from "./retry.ts";
import { create, lease, report, settle, start } from "./settle.ts";
import { isTerminal, type TaskRecord } from "./task.ts";

const echo = (more: Partial<TaskSpec> = {}): TaskSpec => ({ kind: "echo", input: {}, ...more }) as TaskSpec;
type Failed = Extract<Outcome, { kind: "failed" }>;

/** Placed on the node, started, and failed there. */
function failOn(task: TaskRecord, node: string, outcome: Failed, { now = 0, random = 0.5, acted = false } = {}): TaskRecord {
  const placed = lease(task, { node: node as NodeId, strategy: "balanced", at: now, scored: [], refused: [] }, 1, now);
  const running = report(start(placed, now), { acted });
  const finished: Finished = { task: taskId(task.key), attempt: placed.attempt, epoch: 1, startedAt: now, endedAt: now, runMs: 1, outcome };
  return settle(running, finished, now, random).task;
}

/** Due again, if it is to be tried again. */
const due = (task: TaskRecord): TaskRecord => ring(task, task.dueAt ?? 0)?.task ?? task;
const failed = (code: ErrorCode, message = "no", more: Partial<Failed> = {}): Failed => ({
  kind: "failed",
  error: { code, message },
  ...more,
});

const anyFailure = fc.record({
  node: fc.constantFrom("ada", "bob", "cleo"),
  code: fc.constantFrom(...ErrorCode.options),
  message: fc.constantFrom("no", "never", "not now"),
  acted: fc.boolean(),
  retryAfterMs: fc.oneof(fc.constant(undefined), fc.nat(10 * RETRY_AFTER_MS_MAX)),
  random: fc.double({ min: 0, max: 1, noNaN: true }),
});
const anySpec = fc.record({
  retry: fc.option(fc.record({ max: fc.nat(5), backoffMs: fc.nat(3_600_000) }, { requiredKeys: [] }), { nil: undefined }),
  onLost: fc.option(fc.constantFrom("retry" as const, "ask" as const, "fail" as const), { nil: undefined }),
});

/** More than any task may have attempts. */
const FAILURES = 50;

describe("a task that only ever fails", () => {
  it("ends or asks, with no more attempts than its classes allow, and stays there", () => {
    fc.assert(
      fc.property(anySpec, fc.infiniteStream(anyFailure), ({ retry, onLost }, failures) => {
        let task = create(1, echo({ ...(retry && { retry }), ...(onLost && { onLost }) }), "me", 0);
        let last: { node: string; error: string } | undefined;
        for (const { node, code, message, acted, random, retryAfterMs } of failures.take(FAILURES)) {
          const outcome = failed(code, message, retryAfterMs === undefined ? {} : { retryAfterMs });
          const before = task;
          task = failOn(task, node, outcome, { random, acted });
          const error = `${code} ${message}`;
          // B3, both ways round.
          if (task.reason === "poison") expect([last?.error, last?.node === node]).toEqual([error, false]);
          if (last?.error === error && last.node !== node && ERRORS[code].class === "transient") expect(task.reason).toBe("poison");
          last = { node, error };
          const its = ERRORS[code].class;
          // B4; for what is lost the owner may have said otherwise.
          if (acted && !(onLost === "retry" && its === "infrastructure")) expect(task.state).not.toBe("scheduled");
          // B2: each class spends what is its own.
          const spent = [task.failures - before.failures, task.losses - before.losses, (task.throttles ?? 0) - (before.throttles ?? 0)];
          expect(spent).toEqual(
            [its !== "infrastructure" && its !== "throttled", its === "infrastructure", its === "throttled"].map(Number),
          );
          if (task.state !== "scheduled") break;
          expect(task.dueAt).toBeLessThanOrEqual(RETRY_AFTER_MS_MAX + BACKOFF_MS_MAX);
          expect(task.dueAt).toBeGreaterThanOrEqual(Math.min(retryAfterMs ?? 0, RETRY_AFTER_MS_MAX));
          task = due(task);
        }
        // B1.
        expect(task.attempt).toBeLessThanOrEqual((retry?.max ?? RETRIES_DEFAULT) + LIMITS.nodeLossesMax + LIMITS.throttlesMax + 1);
        expect(isTerminal(task.state) || task.state === "waiting").toBe(true);
        if (isTerminal(task.state)) expect(ring(task, Number.MAX_SAFE_INTEGER)).toBeUndefined();
      }),
    );
  });

  it.each([
    ["transient", "agent_failed", RETRIES_DEFAULT + 1, "attempts_spent"],
    ["infrastructure", "gateway_unreachable", LIMITS.nodeLossesMax + 1, "node_losses_spent"],
    ["throttled", "throttled", LIMITS.throttlesMax + 1, "attempts_spent"],
    ["permanent", "gateway_refused", 1, "not_retryable"],
    ["policy", "policy_denied", 1, "not_retryable"],
  ] as const)("%s: %s is tried %i times in all, then %s", (its, code, attempts, reason) => {
    expect(ERRORS[code].class).toBe(its);
    let task = create(1, echo(), "me", 0);
    for (let tried = 0; tried < FAILURES && task.state === "queued"; tried++) task = due(failOn(task, "ada", failed(code)));
    expect(task).toMatchObject({ state: "failed", attempt: attempts, reason, error: { code } });
  });

  it("the same failure on a second node is the end, with retries left", () => {
    const spec = echo({ retry: { max: 9 } });
    const once = due(failOn(create(1, spec, "me", 0), "ada", failed("agent_failed")));
    const twice = due(failOn(once, "ada", failed("agent_failed")));
    expect(twice.state).toBe("queued");
    expect(failOn(twice, "bob", failed("agent_failed"))).toMatchObject({ state: "failed", reason: "poison", attempt: 3 });
    expect(failOn(twice, "bob", failed("agent_failed", "another")).state).toBe("scheduled");
  });

  it("a provider that throttles every node poisons nothing, nor does a Gateway that is down", () => {
    for (const code of ["throttled", "gateway_unreachable"] as const) {
      const once = due(failOn(create(1, echo(), "me", 0), "ada", failed(code)));
      expect(failOn(once, "bob", failed(code)).state).toBe("scheduled");
    }
  });

  it("a command is run again only where its owner asked for it", () => {
    const command = (more: Partial<TaskSpec> = {}): TaskRecord =>
      create(1, { kind: "command", input: { argv: ["ls"] }, ...more } as TaskSpec, "me", 0);
    expect(failOn(command(), "ada", failed("command_failed")).state).toBe("failed");
    expect(failOn(command({ retry: { max: 0 } }), "ada", failed("command_failed")).state).toBe("failed");
    expect(failOn(command({ retry: { max: 1 } }), "ada", failed("command_failed")).state).toBe("scheduled");
  });

  it("B2: infrastructure that fails under a turn that acted leaves the outcome unknown: a person is asked", () => {
    const task = create(1, { kind: "agent", input: { message: "hi" } }, "me", 0);
    expect(failOn(task, "ada", failed("gateway_unreachable"), { acted: true })).toMatchObject({ state: "waiting", reason: "asked" });
    const never = create(1, echo({ onLost: "fail" }), "me", 0);
    expect(failOn(never, "ada", failed("worker_failed"))).toMatchObject({ state: "failed", reason: "outcome_unknown" });
  });
});

describe("the pause", () => {
  it("is random up to the doubled limit, on top of a Retry-After that is believed up to an hour", () => {
    fc.assert(
      fc.property(
        fc.nat(3_600_000),
        fc.integer({ min: 1, max: 101 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.nat(Number.MAX_SAFE_INTEGER),
        (baseMs, nth, random, retryAfterMs) => {
          const pause = pauseMs(baseMs, nth, random, retryAfterMs);
          const floor = Math.min(retryAfterMs, RETRY_AFTER_MS_MAX);
          expect(pause).toBeGreaterThanOrEqual(floor);
          expect(pause - floor).toBeLessThanOrEqual(Math.min(BACKOFF_MS_MAX, baseMs * 2 ** (nth - 1)));
        },
      ),
    );
  });

  it("doubles from two seconds to five minutes, and throttled work waits longer", () => {
    expect([1, 2, 3, 4, 20].map((nth) => pauseMs(2_000, nth, 1))).toEqual([2_000, 4_000, 8_000, 16_000, 300_000]);
    expect(pauseMs(THROTTLED_BACKOFF_MS, 1, 1)).toBe(15_000);
  });
});
