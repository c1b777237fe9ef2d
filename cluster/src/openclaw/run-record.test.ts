import { describe, expect, test } from "vitest";
import { History, readHistory, readWait } from "./run-record.ts";

describe("what agent.wait says", () => {
  test.each([
    [{ status: "timeout" }, { kind: "open" }],
    [{ status: "pending" }, { kind: "open" }],
    [{ status: "ok", stopReason: "stop", endedAt: 1 }, { kind: "ok" }],
    [{ status: "error", stopReason: "rpc", endedAt: 1 }, { kind: "aborted" }],
    [
      { status: "error", error: "no luck", endedAt: 1 },
      { kind: "failed", error: "no luck" },
    ],
    [
      { status: "timeout", error: "too long", endedAt: 1 },
      { kind: "timed_out", error: "too long" },
    ],
  ])("%j", (answer, expected) => expect(readWait(answer)).toEqual(expected));
});

const asked = (runId: string, sourceTool?: string): object => ({
  role: "user",
  content: "do it",
  idempotencyKey: `${runId}:user`,
  ...(sourceTool && { provenance: { kind: "internal_system", sourceTool } }),
});
const said = (runId: string, ...content: object[]): object => ({
  role: "assistant",
  content,
  provider: "p",
  model: "m",
  usage: { input: 1 },
  __openclaw: { runId },
});
const words = (text: string): object => ({ type: "text", text });
const call = (id: string, name: string): object => ({ type: "toolCall", id, name, arguments: {} });
const read = (messages: object[], runId: string): object => readHistory(History.parse({ messages }), runId);

describe("what a transcript says of a run", () => {
  test("the last words, the tool calls, nothing of other runs", () => {
    const messages = [
      asked("r0"),
      said("r0", words("old")),
      asked("r1"),
      said("r1", words("I look"), call("c1", "search")),
      { role: "toolResult", content: [words("found")], __openclaw: { runId: "r1" } },
      said("r1", words("one"), words("two")),
      said("r1"),
      asked("r2"),
      said("r2", words("new"), call("c2", "other")),
    ];
    expect(read(messages, "r1")).toEqual({
      text: "one\ntwo",
      provider: "p",
      model: "m",
      usage: { input: 1 },
      tools: [{ callId: "c1", name: "search" }],
    });
    expect(read(messages, "r3")).toEqual({ text: "", tools: [] });
  });

  test("a resumption is the very next message, from OpenClaw's own recovery", () => {
    const recovery = "main_session_restart_recovery";
    expect(read([asked("r1"), asked("r9", recovery)], "r1")).toMatchObject({ resumedAs: "r9" });
    expect(read([asked("r1"), said("r1", words("partly")), asked("r9", recovery)], "r1")).toMatchObject({ resumedAs: "r9" });
    expect(read([asked("r1"), asked("r2"), asked("r9", recovery)], "r1")).not.toHaveProperty("resumedAs");
    expect(read([asked("r1"), asked("r2", "sessions_send")], "r1")).not.toHaveProperty("resumedAs");
    expect(read([asked("r9", recovery)], "r1")).not.toHaveProperty("resumedAs");
  });
});
