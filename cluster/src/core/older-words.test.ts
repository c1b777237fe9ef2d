import { ERRORS, type ErrorCode } from "@openclaw-cluster/contract/errors";
import type { TaskId } from "@openclaw-cluster/contract/ids";
import type { Finished, Outcome } from "@openclaw-cluster/contract/wire";
import { expect, test } from "vitest";
import { inWordsOf } from "./older-words.ts";

const ended = (outcome: Outcome): Finished => ({ task: "t1" as TaskId, attempt: 1, epoch: 1, endedAt: 5, runMs: 4, outcome });
const NEW: readonly ErrorCode[] = ["model_failed", "answer_invalid", "model_refused", "model_unavailable"];

test.each(NEW)("%s is an older error of its class to a coordinator of the first version, and itself to others (O1)", (code) => {
  for (const kind of ["failed", "refused"] as const) {
    const finished = ended({ kind, error: { code, message: "no memory" } });
    expect(inWordsOf(2, finished)).toBe(finished);
    const { outcome, ...around } = inWordsOf(1, finished);
    expect(around).toEqual({ task: "t1", attempt: 1, epoch: 1, endedAt: 5, runMs: 4 });
    if (outcome.kind !== kind) throw new Error("it has another end");
    expect(NEW).not.toContain(outcome.error.code);
    expect(ERRORS[outcome.error.code].class).toBe(ERRORS[code].class);
    expect(outcome.error.message).toBe(`${code}: no memory`);
  }
});

test("what was always known is told as it is", () => {
  for (const outcome of [
    { kind: "succeeded", result: 7 },
    { kind: "cancelled" },
    { kind: "failed", error: { code: "agent_failed", message: "no" } },
  ] as const) {
    const finished = ended(outcome);
    expect(inWordsOf(1, finished)).toBe(finished);
  }
});
