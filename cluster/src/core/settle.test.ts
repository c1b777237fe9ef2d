/** The life of a task as a whole: whatever happens in whatever order, L1–L4 and T1–T4 hold. */
import { taskId, type NodeId } from "@openclaw-cluster/contract/ids";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { Finished, Outcome } from "@openclaw-cluster/contract/wire";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ring } from "./alarms.ts";
import { answer, cancel, create, holds, interrupt, lease, lose, report, retryByHand, settle, start } from "./settle.ts";
import { isTerminal, type TaskRecord } from "./task.ts";

const node = "studio" as NodeId;
const placement = { node, strategy: "balanced", at: 0, scored: [], refused: [] } as const;
const echo = (more: Partial<TaskSpec> = {}): TaskSpec => ({ kind: "echo", input: {}, ...more }) as TaskSpec;
const failure = (code: "command_failed" | "agent_failed"): Outcome => ({ kind: "failed", error: { code, message: "no" } });

function finished(task: TaskRecord, outcome: Outcome, more: Partial<Finished> = {}): Finished {
  return {
    task: taskId(task.key),
    attempt: task.attempt,
    epoch: task.lease?.epoch ?? 0,
    startedAt: 1,
    endedAt: 2,
    runMs: 1,
    outcome,
    ...more,
  };
}

const leased = (spec: TaskSpec = echo()): TaskRecord => lease(create(1, spec, "me", 0), placement, 1, 10);
const running = (spec: TaskSpec = echo()): TaskRecord => start(leased(spec), 20);

describe("results", () => {
  it("a success ends the task with its result", () => {
    const { task } = settle(running(), finished(running(), { kind: "succeeded", result: 42 }), 30, 0);
    expect(task).toMatchObject({ state: "succeeded", reason: "done", result: 42, endedAt: 30 });
    expect(task.lease).toBeUndefined();
  });

  it("L1: only the attempt and epoch of the lease hold", () => {
    const task = running();
    expect(holds(task, { task: taskId(1), attempt: 1, epoch: 1 })).toBe(true);
    expect(holds(task, { task: taskId(1), attempt: 2, epoch: 1 })).toBe(false);
    expect(holds(task, { task: taskId(1), attempt: 1, epoch: 2 })).toBe(false);
    expect(holds(create(1, echo(), "me", 0), { task: taskId(1), attempt: 1, epoch: 1 })).toBe(false);
  });

  it("a failure that may pass is retried after a pause, until the attempts are spent", () => {
    let task = running(echo({ retry: { max: 1, backoffMs: 100 } }));
    const first = settle(task, finished(task, failure("agent_failed")), 50, 0.5);
    expect(first.task).toMatchObject({ state: "scheduled", reason: "attempt_failed", failures: 1, dueAt: 100 });
    expect(first.ended).toMatchObject({ n: 1, outcome: "failed", node });
    task = (ring(first.task, 100) as { task: TaskRecord }).task;
    expect(task).toMatchObject({ state: "queued", reason: "backoff_over" });
    task = start(lease(task, placement, 1, 110), 120);
    const second = settle(task, finished(task, failure("agent_failed")), 130, 0.5);
    expect(second.task).toMatchObject({ state: "failed", reason: "attempts_spent", attempt: 2 });
  });

  it("a failure that will not pass is not retried", () => {
    const { task } = settle(running(), finished(running(), failure("command_failed")), 50, 0.5);
    expect(task).toMatchObject({ state: "failed", reason: "not_retryable", error: { code: "command_failed" } });
  });

  it("never pauses shorter than the failing side asked for", () => {
    const task = running();
    const outcome: Outcome = { kind: "failed", error: { code: "gateway_unreachable", message: "down" }, retryAfterMs: 9_000 };
    expect(settle(task, finished(task, outcome), 0, 0).task.dueAt).toBe(9_000);
  });

  it("a refused offer goes back into the queue where it was", () => {
    const { task, ended } = settle(
      leased(),
      finished(leased(), { kind: "refused", error: { code: "policy_denied", message: "no" } }),
      50,
      0,
    );
    expect(task).toMatchObject({ state: "queued", queuedAt: 0, failures: 0 });
    expect(ended?.outcome).toBe("refused");
  });
});

describe("loss", () => {
  it("L3: losing a node spends no retry, and has its own limit", () => {
    let task = running(echo({ retry: { max: 0 } }));
    for (let losses = 1; losses <= LIMITS.nodeLossesMax; losses++) {
      const settled = lose(task, 50, false);
      expect(settled.task).toMatchObject({ state: "queued", reason: "node_lost", losses, failures: 0 });
      task = start(lease(settled.task, placement, 1, 60), 70);
    }
    expect(lose(task, 80, false).task).toMatchObject({ state: "failed", reason: "node_losses_spent" });
  });

  it("L4: a turn that acted waits for a person", () => {
    const turn = running({ kind: "agent", input: { message: "hello" } });
    expect(lose(turn, 50, false).task.state).toBe("queued");
    const acted = report(turn, { acted: true });
    const { task } = lose(acted, 50, false);
    expect(task).toMatchObject({ state: "waiting", reason: "asked" });
    expect(answer(task, "retry", 60)).toMatchObject({ state: "queued", reason: "answered_retry" });
    expect(answer(task, "fail", 60)).toMatchObject({ state: "failed", reason: "answered_fail" });
    expect(settle(acted, finished(acted, failure("agent_failed")), 60, 0).task).toMatchObject({ state: "failed", reason: "not_retryable" });
  });

  it("onLost: fail ends it, unless the node itself says that it never started", () => {
    const spec = echo({ onLost: "fail" });
    expect(lose(running(spec), 50, false).task).toMatchObject({ state: "failed", reason: "outcome_unknown" });
    expect(lose(leased(spec), 50, true).task).toMatchObject({ state: "queued", losses: 0 });
  });
});

describe("a daemon that stops in good order", () => {
  const stopped: Outcome = { kind: "cancelled", cause: "shutdown" };
  const stop = (task: TaskRecord, more: Partial<Finished> = {}) => settle(task, finished(task, stopped, more), 50, 0);

  it("L3: what it stopped runs again, however often, and spends nothing", () => {
    let task = running(echo({ retry: { max: 0 } }));
    for (let stops = 0; stops <= 2 * LIMITS.nodeLossesMax; stops++) {
      const settled = stop(task);
      expect(settled.task).toMatchObject({ state: "queued", reason: "node_stopped", losses: 0, failures: 0, queuedAt: 0 });
      expect(settled.ended).toMatchObject({ node, outcome: "interrupted", error: { code: "node_stopped" } });
      task = start(lease(settled.task, placement, 1, 60), 70);
    }
  });

  it("L4: what may have acted waits for a person, or ends, as its owner said", () => {
    const turn = running({ kind: "agent", input: { message: "hello" } });
    expect(stop(turn).task).toMatchObject({ state: "queued", reason: "node_stopped" });
    expect(stop(turn, { acted: true }).task).toMatchObject({
      state: "waiting",
      reason: "asked",
      error: { code: "node_stopped" },
      losses: 0,
    });
    expect(stop(running(echo({ onLost: "ask" }))).task).toMatchObject({ state: "waiting", reason: "asked" });
    expect(interrupt(turn, 50, false, "sleep").ended?.error?.message).toMatch(/went to sleep, and stopped/);
    const forbidden = finished(turn, { kind: "cancelled", cause: "policy" }, { acted: true });
    expect(settle(turn, forbidden, 50, 0).task).toMatchObject({
      state: "waiting",
      error: { message: `The policy of ${node} does not allow it any more, and stopped the attempt before its end.` },
    });
    expect(stop(running(echo({ onLost: "fail" }))).task).toMatchObject({ state: "failed", reason: "node_stopped", endedAt: 50 });
  });

  it("hands back what it never started, whatever its owner said", () => {
    const task = leased(echo({ onLost: "fail" }));
    const { startedAt: _started, ...unstarted } = finished(task, stopped);
    expect(settle(task, unstarted, 50, 0)).toMatchObject({
      task: { state: "queued", reason: "node_stopped" },
      ended: { outcome: "interrupted", error: { message: expect.stringContaining("before the attempt had started") } },
    });
  });

  it("confirms a cancel", () => {
    expect(stop(cancel(running(), 30) as TaskRecord).task).toMatchObject({ state: "cancelled", reason: "cancel_confirmed" });
  });
});

describe("cancel", () => {
  it("L2: once cancelling, a success no longer counts", () => {
    const task = cancel(running(), 30) as TaskRecord;
    expect(task.state).toBe("cancelling");
    expect(settle(task, finished(task, { kind: "succeeded", result: 1 }), 40, 0).task).toMatchObject({
      state: "cancelled",
      reason: "cancel_confirmed",
    });
    expect(lose(task, 40, false).task).toMatchObject({ state: "cancelled" });
  });

  it("is final at once where nothing runs, and refused where it is over", () => {
    expect(cancel(create(1, echo(), "me", 0), 5)).toMatchObject({ state: "cancelled", endedAt: 5 });
    const { task } = settle(running(), finished(running(), { kind: "succeeded" }), 30, 0);
    expect(cancel(task, 40)).toBeUndefined();
  });
});

describe("time", () => {
  it("runAt delays, queueMs and deadline end", () => {
    const delayed = create(1, echo({ runAt: 100 }), "me", 0);
    expect(delayed.state).toBe("scheduled");
    expect(ring(delayed, 99)).toBeUndefined();
    expect(ring(delayed, 100)?.task).toMatchObject({ state: "queued", reason: "due" });
    expect(ring(create(1, echo({ timeouts: { queueMs: 10 } }), "me", 0), 10)?.task).toMatchObject({
      state: "failed",
      error: { code: "queue_timeout" },
    });
    expect(ring(running(echo({ deadline: 50 })), 50)?.task).toMatchObject({ state: "failed", error: { code: "deadline_passed" } });
  });

  it("an offer that is not started in time goes back", () => {
    expect(ring(leased(echo({ timeouts: { startMs: 5 } })), 15)?.task).toMatchObject({ state: "queued" });
    expect(ring(running(echo({ timeouts: { startMs: 5 } })), 15)).toBeUndefined();
  });
});

/** Every event that can meet a task, as the coordinator would carry it out; ones that do not fit the state do nothing. */
const EVENTS: Record<string, (task: TaskRecord, now: number) => TaskRecord | undefined> = {
  place: (task, now) => (task.state === "queued" ? lease(task, placement, 1, now) : undefined),
  start: (task, now) => start(task, now),
  succeed: (task, now) => task.lease && settle(task, finished(task, { kind: "succeeded", result: 1 }), now, 0.5).task,
  fail: (task, now) => task.lease && settle(task, finished(task, failure("agent_failed")), now, 0.5).task,
  refuse: (task, now) =>
    task.state === "leased"
      ? settle(task, finished(task, { kind: "refused", error: { code: "policy_denied", message: "" } }), now, 0).task
      : undefined,
  act: (task) => (task.lease ? report(task, { acted: true }) : undefined),
  lose: (task, now) => task.lease && lose(task, now, false).task,
  giveBack: (task, now) => task.lease && lose(task, now, true).task,
  stop: (task, now) => task.lease && settle(task, finished(task, { kind: "cancelled", cause: "shutdown" }), now, 0.5).task,
  cancel,
  retry: retryByHand,
  answer: (task, now) => answer(task, "retry", now),
  ring: (task, now) => ring(task, now)?.task,
};

it("T1–T4 hold through any sequence of events", () => {
  const spec = fc.constantFrom<TaskSpec>(echo(), echo({ onLost: "ask" }), echo({ onLost: "fail", deadline: 400 }), echo({ runAt: 50 }), {
    kind: "agent",
    input: { message: "hi" },
  });
  fc.assert(
    fc.property(spec, fc.array(fc.constantFrom(...Object.keys(EVENTS)), { maxLength: 60 }), (first, names) => {
      let task = create(1, first, "me", 0);
      for (const [index, name] of names.entries()) {
        const next = EVENTS[name]?.(task, index * 10);
        if (next === undefined || next === task) continue;
        const leaseStates = ["leased", "running", "cancelling"];
        expect(next.lease !== undefined).toBe(leaseStates.includes(next.state));
        expect(next.seq).toBe(task.seq + (next.state === task.state && next.reason === task.reason ? 0 : 1));
        expect(next.attempt).toBeGreaterThanOrEqual(task.attempt);
        if (isTerminal(task.state)) expect(name).toBe("retry");
        task = next;
      }
    }),
  );
});

/** Walks every order of `depth` events; `visit` sees each that changed something, and what was answered to a cancel before it. */
function everyOrder(
  task: TaskRecord,
  depth: number,
  visit: (task: TaskRecord, name: string, cancelled: boolean) => void,
  cancelled = false,
): void {
  if (depth === 0) return;
  for (const [name, happen] of Object.entries(EVENTS)) {
    const next = happen(task, 100 - 10 * depth);
    if (next === undefined || next === task) continue;
    visit(next, name, cancelled);
    everyOrder(next, depth - 1, visit, name === "cancel" || (cancelled && name !== "retry"));
  }
}

it("G6: once a cancel was answered, a task is cancelling or cancelled for good, in every order of seven events, unless a person retries", () => {
  let seen = 0;
  for (const spec of [echo(), echo({ onLost: "ask", retry: { max: 1 } }), echo({ runAt: 20, deadline: 75, timeouts: { startMs: 5 } })]) {
    everyOrder(create(1, spec, "me", 0), 7, (task, name, cancelled) => {
      if (name === "retry") return;
      if (name === "cancel") expect(["cancelling", "cancelled"]).toContain(task.state);
      if (!cancelled) return;
      seen += 1;
      if (task.state !== "cancelling" && task.state !== "cancelled") expect.unreachable(`${name} made it ${task.state} after a cancel`);
      if (task.result !== undefined) expect.unreachable(`${name} gave a cancelled task a result`);
    });
  }
  expect(seen).toBeGreaterThan(1_000);
});
