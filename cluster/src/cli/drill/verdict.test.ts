import type { TaskEvent } from "@openclaw-cluster/contract/events";
import { taskId, type NodeId } from "@openclaw-cluster/contract/ids";
import { expect, test } from "vitest";
import { measure, problemsOf, type Measured } from "./verdict.ts";

const victim = "a" as NodeId;
const other = "b" as NodeId;
const BLOW = { node: victim, at: 1_000 };

type Told = readonly [at: number, key: number, state: TaskEvent["state"], reason: TaskEvent["reason"], attempt: number, node?: NodeId];

function judge(...told: readonly Told[]): Measured {
  const events = told.map(([at, key, state, reason, attempt, node], id): TaskEvent => ({
    id,
    at,
    type: "task",
    task: taskId(key),
    state,
    reason,
    seq: id,
    attempt,
    ...(node !== undefined && { node }),
  }));
  return measure(events, new Set([taskId(1), taskId(2)]), BLOW);
}

const first = (key: number, node: NodeId): Told[] => [
  [500, key, "queued", "submitted", 0],
  [501, key, "leased", "placed", 1, node],
  [510, key, "running", "started", 1, node],
];
const untouched: Told[] = [...first(2, other), [710, 2, "succeeded", "done", 1, other]];
const struck: Told[] = [
  ...first(1, victim),
  [1_700, 1, "queued", "node_lost", 1],
  [1_750, 1, "leased", "placed", 2, other],
  [1_760, 1, "running", "started", 2, other],
  [1_960, 1, "succeeded", "done", 2, other],
];

test("a task that was taken back and started again", () => {
  const measured = judge(...untouched, ...struck);
  expect(measured).toEqual({
    tasks: 2,
    succeeded: 2,
    struck: 1,
    lost: 0,
    acceptedTwice: 0,
    takenBackMs: 700,
    startedAgainMs: 760,
    wholeMs: 1_460,
  });
  expect(problemsOf(measured, 760)).toEqual([]);
  expect(problemsOf(measured, 759)).toEqual(["a task started again only after 760 ms; promised are 759 ms"]);
});

test("taken back and placed in one turn, which is told by one event; started and ended in one turn too", () => {
  const measured = judge(
    ...untouched,
    ...first(1, victim),
    [1_700, 1, "leased", "placed", 2, other],
    [1_900, 1, "succeeded", "done", 2, other],
  );
  expect(measured).toMatchObject({ struck: 1, takenBackMs: 700, startedAgainMs: 900 });
});

test("a task of the victim that ended all the same, or was taken back before the blow, was not struck", () => {
  expect(judge(...untouched, ...first(1, victim), [1_005, 1, "succeeded", "done", 1, victim])).toMatchObject({ struck: 0, lost: 0 });
  const early = judge(...untouched, ...first(1, victim), [900, 1, "queued", "refused_by_node", 1], [950, 1, "leased", "placed", 2, other]);
  expect(early).toMatchObject({ struck: 0 });
  expect(early).not.toHaveProperty("takenBackMs");
});

test("what did not succeed is lost, also when no event ever told of it", () => {
  const failed = judge(...untouched, ...first(1, victim), [1_700, 1, "failed", "node_losses_spent", 1]);
  expect(failed).toMatchObject({ succeeded: 1, lost: 1 });
  expect(problemsOf(failed, 1_000)).toEqual(["1 task did not succeed"]);
  expect(judge()).toMatchObject({ tasks: 2, lost: 2, wholeMs: 0 });
});

test("two successes of one task", () => {
  const measured = judge(...untouched, ...struck, [2_000, 1, "succeeded", "done", 1, victim]);
  expect(measured).toMatchObject({ succeeded: 2, lost: 0, acceptedTwice: 1 });
  expect(problemsOf(measured, 1_000)).toEqual(["1 task succeeded more than once"]);
});

test("what was taken back and never started again", () => {
  const measured = judge(...untouched, ...first(1, victim), [1_700, 1, "queued", "node_lost", 1]);
  expect(problemsOf(measured, 1_000)).toEqual(["1 task did not succeed", "what was struck did not start again"]);
});

test("tasks of others do not count", () => {
  const stranger: Told = [1_800, 3, "succeeded", "done", 1, other];
  expect(judge(...untouched, ...struck, stranger)).toEqual(judge(...untouched, ...struck));
});
