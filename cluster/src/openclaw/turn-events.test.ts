import { expect, test } from "vitest";
import type { TurnEvent } from "./openclaw.ts";
import { TurnStream } from "./turn-events.ts";

function stream(began = true): {
  events: TurnEvent[];
  text: () => string;
  take: (stream: string, data: object, runId?: string) => void;
  seen: TurnStream;
} {
  const events: TurnEvent[] = [];
  const seen = new TurnStream((event) => events.push(event));
  return {
    events,
    seen,
    text: () => events.map((event) => (event.kind === "text" ? event.delta : "")).join(""),
    take: (name, data, runId = "r1") => seen.take({ runId, stream: name, data }, { id: "r1", began }),
  };
}

test("text comes as what is new, whatever was missed in between", () => {
  const { text, take } = stream();
  take("assistant", { text: "one", delta: "one", itemId: "a" });
  take("assistant", { text: "one two three", delta: " three", itemId: "a" });
  take("assistant", { text: "one two three", delta: "", itemId: "a" });
  expect(text()).toBe("one two three");
});

test("a second message and a corrected one begin on a new line", () => {
  const { text, take } = stream();
  take("assistant", { text: "I look.", itemId: "a" });
  take("assistant", { text: "Found", itemId: "b" });
  take("assistant", { text: "Found it.", itemId: "b" });
  take("assistant", { text: "Sorry.", itemId: "b", replace: true });
  expect(text()).toBe("I look.\nFound it.\nSorry.");
});

test("other runs, other streams and other forms are passed over", () => {
  const { events, take, seen } = stream();
  take("assistant", { text: "not ours" }, "r2");
  take("lifecycle", { phase: "start" });
  take("assistant", { words: 1 });
  take("tool", { phase: "start" });
  seen.take("nonsense", { id: "r1", began: true });
  expect(events).toEqual([]);
});

const START = { phase: "start", name: "search", toolCallId: "c1", args: { q: "x" } };
const RESULT = { phase: "result", name: "search", toolCallId: "c1", isError: true, result: { content: [{ type: "text", text: "no" }] } };
const ITEM = { kind: "tool", name: "search", toolCallId: "c1" };

test("a call is told once: by tool events to whom began the run, by items to others", () => {
  const mine = stream();
  mine.take("item", { ...ITEM, phase: "start", status: "running" });
  mine.take("tool", START);
  mine.take("tool", RESULT);
  mine.take("item", { ...ITEM, phase: "end", status: "completed" });
  expect(mine.events).toEqual([
    { kind: "tool", phase: "start", name: "search", callId: "c1", data: { q: "x" } },
    { kind: "tool", phase: "result", name: "search", callId: "c1", data: { isError: true, text: "no" } },
  ]);
  const other = stream(false);
  other.take("item", { kind: "command", phase: "start", name: "x", toolCallId: "c0" });
  other.take("item", { ...ITEM, phase: "start", status: "running" });
  other.take("item", { ...ITEM, phase: "end", status: "completed" });
  other.seen.toolSeen({ callId: "c1", name: "search" });
  other.seen.toolSeen({ callId: "c2", name: "missed" });
  expect(other.events).toEqual([
    { kind: "tool", phase: "start", name: "search", callId: "c1" },
    { kind: "tool", phase: "result", name: "search", callId: "c1", data: { isError: false } },
    { kind: "tool", phase: "start", name: "missed", callId: "c2" },
  ]);
  expect(other.seen.toolCalls).toBe(2);
});

/** As the real Gateway sent them (2026.9.6), for a provider that answered 429 with Retry-After: 7. */
const OBSERVED = { provider: "p", model: "m", failoverReason: "rate_limit", providerRuntimeFailureKind: "rate_limit" };
const RETRYING = { phase: "retrying", message: "Retrying… 2/10", retryAttempt: 1, maxRetries: 9, delayMs: 7_000, reason: "rate_limit" };

test("why the model failed: the run's own end tells, with the last pause, and only a throttled one is waited for", () => {
  const { take, seen } = stream();
  const pauses: number[] = [];
  seen.onThrottled = (pauseMs) => pauses.push(pauseMs);
  take("lifecycle", { phase: "start", startedAt: 1 });
  take("lifecycle", { phase: "finishing", error: "⚠️ wait", errorObservation: OBSERVED });
  expect(seen.fault).toBeUndefined();
  take("run_status", RETRYING);
  take("run_status", { ...RETRYING, reason: "server_error", delayMs: 28_711 });
  take("run_status", { phase: "retrying" });
  take("lifecycle", { phase: "error", error: "⚠️ wait", errorObservation: OBSERVED, executionSettled: true });
  expect(seen.fault).toEqual({ reason: "rate_limit", throttled: true, pauseMs: 7_000 });
  expect(pauses).toEqual([7_000]);
  take("lifecycle", { phase: "start", startedAt: 2 });
  expect(seen.fault).toBeUndefined();
  take("lifecycle", { phase: "error", errorObservation: { failoverReason: "billing" } });
  expect(seen.fault).toMatchObject({ reason: "billing", throttled: false });
});

test("long arguments and results are cut", () => {
  const { events, take } = stream();
  take("tool", { ...START, args: { q: "x".repeat(100_000) } });
  take("tool", { ...RESULT, result: { content: [{ text: "y".repeat(100_000) }] } });
  expect(JSON.stringify(events).length).toBeLessThan(20_000);
  expect(JSON.stringify(events)).toContain("100000 characters");
});
