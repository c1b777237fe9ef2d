/** T1–T4: every change of the table and no other, and lives made of such changes. */
import { Reason, TaskState } from "@openclaw-cluster/contract/task";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { id, task } from "./scheduling/fixtures.ts";
import { demand, isTerminal, transition, TransitionError, TRANSITIONS, type TaskRecord } from "./task.ts";

/** The table once more, as it was agreed; a change of it is a change of the design. */
const AGREED = `
scheduled → queued: due, backoff_over
scheduled → cancelled: cancel_requested
scheduled → waiting: asked
scheduled → failed: deadline_passed, queue_timeout, outcome_unknown
queued → leased: placed
queued → cancelled: cancel_requested
queued → waiting: asked
queued → failed: deadline_passed, queue_timeout, outcome_unknown
leased → running: started
leased → queued: refused_by_node, node_lost, node_stopped
leased → scheduled: attempt_failed
leased → waiting: asked
leased → succeeded: done
leased → failed: attempts_spent, not_retryable, poison, node_losses_spent, node_stopped, deadline_passed, outcome_unknown
leased → cancelling: cancel_requested
leased → cancelled: cancel_confirmed
running → queued: node_lost, node_stopped, refused_by_node
running → scheduled: attempt_failed
running → waiting: asked
running → succeeded: done
running → failed: attempts_spent, not_retryable, poison, node_losses_spent, node_stopped, deadline_passed, outcome_unknown
running → cancelling: cancel_requested
running → cancelled: cancel_confirmed
waiting → queued: answered_retry
waiting → failed: answered_fail, deadline_passed
waiting → cancelled: cancel_requested
cancelling → cancelled: cancel_confirmed, node_lost
failed → queued: retried_by_hand
cancelled → queued: retried_by_hand
`;

const states = TaskState.options;
const LEASED: readonly TaskState[] = ["leased", "running", "cancelling"];
const lease = { node: id("ada"), epoch: 1, offeredAt: 0 };
const anyChange = fc.record({
  from: fc.constantFrom(...states),
  to: fc.constantFrom(...states),
  reason: fc.constantFrom(...Reason.options),
});

const inState = (state: TaskState): TaskRecord => task(1, { state, seq: 7, ...(LEASED.includes(state) && { lease }) });
const isAllowed = (from: TaskState, to: TaskState, reason: Reason): boolean => TRANSITIONS[from][to]?.includes(reason) ?? false;

describe("the table", () => {
  it("is what was agreed", () => {
    const lines = states.flatMap((from) =>
      Object.entries(TRANSITIONS[from]).map(([to, reasons]) => `${from} → ${to}: ${reasons.join(", ")}`),
    );
    expect(lines.sort()).toEqual(AGREED.trim().split("\n").sort());
  });

  it("T1: allows each of its changes, and raises seq by one", () => {
    for (const from of states) {
      for (const to of states) {
        for (const reason of TRANSITIONS[from][to] ?? []) {
          expect(transition(inState(from), to, reason, LEASED.includes(to) ? { lease } : {})).toMatchObject({ state: to, reason, seq: 8 });
        }
      }
    }
  });

  it("T1: refuses every other, and leaves the record as it was", () => {
    fc.assert(
      fc.property(anyChange, ({ from, to, reason }) => {
        fc.pre(!isAllowed(from, to, reason));
        const before = inState(from);
        const copy = structuredClone(before);
        expect(() => transition(before, to, reason)).toThrow(TransitionError);
        expect(before).toEqual(copy);
      }),
      { numRuns: 1_000 },
    );
  });

  it("T2: leaves the end only by a person's hand", () => {
    for (const from of states.filter(isTerminal)) {
      for (const to of states)
        expect(TRANSITIONS[from][to] ?? []).toEqual(from !== "succeeded" && to === "queued" ? ["retried_by_hand"] : []);
    }
    expect(states.filter(isTerminal)).toEqual(["succeeded", "failed", "cancelled"]);
  });

  it("T3: gives a lease only by placing", () => {
    for (const from of states.filter((state) => !LEASED.includes(state))) {
      for (const to of LEASED) expect(TRANSITIONS[from][to] ?? []).toEqual(from === "queued" && to === "leased" ? ["placed"] : []);
    }
  });

  it("lets every task that is not over be cancelled, by a person or at once", () => {
    for (const from of states.filter((state) => !isTerminal(state) && state !== "cancelling")) {
      expect([...(TRANSITIONS[from].cancelled ?? []), ...(TRANSITIONS[from].cancelling ?? [])]).toContain("cancel_requested");
    }
  });

  it("leads from every state to an end", () => {
    const ending = new Set<TaskState>(states.filter(isTerminal));
    for (let size = 0; size !== ending.size;) {
      size = ending.size;
      for (const from of states) if (states.some((to) => ending.has(to) && TRANSITIONS[from][to])) ending.add(from);
    }
    expect([...ending].sort()).toEqual([...states].sort());
  });
});

describe("a life of allowed changes", () => {
  const anyLife = fc.array(fc.nat(), { maxLength: 60 });

  it("T1, T3, T4: counts each, has a lease exactly while one is due, and never gives an attempt twice", () => {
    fc.assert(
      fc.property(anyLife, (picks) => {
        let now = task(1);
        for (const pick of picks) {
          const options = states.flatMap((to) => (TRANSITIONS[now.state][to] ?? []).map((reason) => ({ to, reason })));
          const option = options[pick % options.length];
          if (option === undefined) break;
          const before = now;
          now = transition(before, option.to, option.reason, option.to === "leased" ? { attempt: before.attempt + 1, lease } : {});
          expect(now.seq).toBe(before.seq + 1);
          expect(now.lease !== undefined).toBe(LEASED.includes(now.state));
          expect(now.attempt).toBe(before.attempt + (option.to === "leased" ? 1 : 0));
          expect([now.key, now.spec, now.owner, now.createdAt]).toEqual([before.key, before.spec, before.owner, before.createdAt]);
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe("demand", () => {
  it("is one slot and no memory unless said", () => {
    expect(demand({ kind: "echo", input: {} })).toEqual({ slots: 1, memoryMiB: 0 });
    expect(demand({ kind: "echo", input: {}, require: { slots: 3, memoryMiB: 70 } })).toEqual({ slots: 3, memoryMiB: 70 });
  });
});
