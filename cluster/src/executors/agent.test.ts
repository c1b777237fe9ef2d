/** Agent turns and tool calls as attempts: what is asked of the Gateway, what is printed, how each end is told. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { ClusterId, NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { describe, expect, test } from "vitest";
import { Policy } from "../core/policy.ts";
import type { Gateway, Turn, TurnEnd, TurnEvent } from "../openclaw/openclaw.ts";
import { systemClock } from "../system/clock.ts";
import { silentLog } from "../system/log.ts";
import { agentExecutor } from "./agent.ts";
import type { Execution } from "./executors.ts";
import { toolExecutor } from "./tool.ts";

type AgentSpec = Extract<TaskSpec, { kind: "agent" }>;
type ToolSpec = Extract<TaskSpec, { kind: "tool" }>;

const ANN = { token: "annannan", name: "ann" };
const ruled = (allow: object, more: object = {}) => {
  const policy = Policy.parse({ version: 1, allow, ...more });
  return { policy: { current: () => policy }, clock: systemClock };
};
const OPEN = ruled({ agents: ["*"], tools: ["*"], sessions: ["daily"] });
const SHUT = ruled({ agents: ["*"], tools: ["*"] }, { deny: { kinds: ["agent", "tool"] } });
const DONE: TurnEnd = { kind: "done", text: "hi", meta: { model: "m", provider: "p", sessionKey: "k", toolCalls: 2, usage: { input: 1 } } };

function played(parts: Partial<Gateway>): Gateway {
  const none = (): never => expect.unreachable();
  return { reachable: true, defaultAgent: "main", onStatus: none, inventory: none, turn: none, invokeTool: none, close: none, ...parts };
}

interface Recorded {
  readonly execution: Execution;
  readonly printed: unknown[];
  acted: boolean;
}

function record(spec: TaskSpec, options: { signal?: AbortSignal; room?: () => Promise<void>; resumed?: boolean } = {}): Recorded {
  const printed: unknown[] = [];
  const recorded: Recorded = {
    printed,
    acted: false,
    execution: {
      cluster: "abcdefgh" as ClusterId,
      node: "n1" as NodeId,
      offer: { task: "t7" as TaskId, attempt: 2, epoch: 3, spec, submitter: ANN },
      resumed: options.resumed ?? false,
      signal: options.signal ?? new AbortController().signal,
      folder: "unused",
      log: silentLog,
      async output(stream, text, data) {
        await options.room?.();
        printed.push(data === undefined ? [stream, text] : [stream, text, data]);
      },
      progress: () => undefined,
      acted: () => {
        recorded.acted = true;
      },
    },
  };
  return recorded;
}

const agentSpec = (input: Partial<AgentSpec["input"]> = {}, more: Partial<AgentSpec> = {}): AgentSpec => ({
  kind: "agent",
  input: { message: "hello", ...input },
  ...more,
});

async function askedFor(spec: AgentSpec): Promise<Turn> {
  const turns: Turn[] = [];
  const gateway = played({ turn: (turn) => Promise.resolve((turns.push(turn), DONE)) });
  await agentExecutor({ gateway, ...OPEN }).run(spec, record(spec).execution);
  return turns[0] as Turn;
}

describe("what an agent task asks for", () => {
  test("a run of the attempt's own name, in a session of the task's own, of the default agent", async () => {
    expect(await askedFor(agentSpec())).toEqual({
      runId: "ocx-abcdefgh-t7-a2-e3",
      message: "hello",
      agent: "main",
      sessionKey: "agent:main:cluster-abcdefgh-t7",
      timeoutMs: 1_805_000,
      permit: expect.any(Function) as unknown,
    });
  });

  test("agent, session, model, skill, thinking and time-out as the task says", async () => {
    const spec = agentSpec(
      { agent: "ops", session: "agent:ops:daily", model: "p/m", skill: "haiku", thinking: "low" },
      { timeouts: { runMs: 1_000 } },
    );
    const turn = await askedFor(spec);
    expect(turn).toMatchObject({ agent: "ops", sessionKey: "agent:ops:daily", model: "p/m", thinking: "low", timeoutMs: 6_000 });
    expect(turn.message).toContain('the skill "haiku"');
    expect(turn.message.endsWith("\n\nhello")).toBe(true);
  });

  test("a full session key is taken as it is, but not that of another agent", async () => {
    expect(await askedFor(agentSpec({ session: "agent:main:daily" }))).toMatchObject({ sessionKey: "agent:main:daily" });
    const spec = agentSpec({ agent: "ops", session: "agent:main:daily" });
    expect(await agentExecutor({ gateway: played({}), ...OPEN }).run(spec, record(spec).execution)).toMatchObject({
      kind: "failed",
      error: { code: "bad_request" },
    });
  });
});

describe("how an agent task ends", () => {
  const run = async (turn: Gateway["turn"], options: { signal?: AbortSignal } = {}): Promise<object> => {
    const spec = agentSpec();
    return agentExecutor({ gateway: played({ turn }), ...OPEN }).run(spec, record(spec, options).execution);
  };

  test("with the text and what is known about the run", async () => {
    const result = {
      text: "hi",
      model: "m",
      provider: "p",
      usage: { input: 1 },
      sessionKey: "k",
      runId: "ocx-abcdefgh-t7-a2-e3",
      toolCalls: 2,
    };
    expect(await run(() => Promise.resolve(DONE))).toEqual({ kind: "succeeded", result });
  });

  test("stopped by us is cancelled, stopped by somebody else is a failure", async () => {
    expect(await run(() => Promise.resolve({ kind: "aborted" }), { signal: AbortSignal.abort("cancelled") })).toEqual({
      kind: "cancelled",
    });
    expect(await run(() => Promise.resolve({ kind: "aborted" }))).toMatchObject({ kind: "failed", error: { code: "agent_failed" } });
  });

  test("a throttled turn says how long to wait, and OpenClaw's reason", async () => {
    const end: TurnEnd = { kind: "failed", code: "throttled", message: "wait", reason: "rate_limit", retryAfterMs: 7_000 };
    expect(await run(() => Promise.resolve(end))).toEqual({
      kind: "failed",
      error: { code: "throttled", message: "wait", data: { reason: "rate_limit" } },
      retryAfterMs: 7_000,
    });
    expect(await run(() => Promise.reject(new ClusterError("throttled", "wait", { retryAfterMs: 5 })))).toMatchObject({ retryAfterMs: 5 });
  });

  test("failures carry their code; what is not expected is thrown", async () => {
    expect(await run(() => Promise.resolve({ kind: "failed", code: "gateway_unreachable", message: "lost" }))).toEqual({
      kind: "failed",
      error: { code: "gateway_unreachable", message: "lost" },
    });
    expect(await run(() => Promise.reject(new ClusterError("gateway_refused", "no")))).toEqual({
      kind: "failed",
      error: { code: "gateway_refused", message: "no" },
    });
    await expect(run(() => Promise.reject(new TypeError("bug")))).rejects.toThrow("bug");
  });
});

describe("what the policy does not allow now", () => {
  const spec = agentSpec();
  /** A Gateway that asks as turns.ts does. */
  const asking = (step: "begin" | "go_on"): Gateway =>
    played({
      turn: async ({ permit }) => {
        const reason = permit(step);
        return reason === undefined ? DONE : { kind: "denied", reason, ran: step === "go_on" };
      },
    });
  const run = (step: "begin" | "go_on", resumed: boolean, rules = SHUT) => {
    const recorded = record(spec, { resumed });
    return agentExecutor({ gateway: asking(step), ...rules })
      .run(spec, recorded.execution)
      .then((outcome) => ({ outcome, printed: recorded.printed }));
  };

  test("is not begun; where nothing of it ever was, others may have it", async () => {
    const message = "This node's policy: kind agent is denied.";
    expect((await run("begin", false)).outcome).toEqual({ kind: "refused", error: { code: "policy_denied", message } });
    expect((await run("begin", true)).outcome).toEqual({ kind: "cancelled", cause: "policy" });
  });

  test("is stopped where an earlier life began it, and says so", async () => {
    const { outcome, printed } = await run("go_on", true);
    expect(outcome).toEqual({ kind: "cancelled", cause: "policy" });
    expect(printed).toEqual([["note", "This node's policy: kind agent is denied. The turn is stopped.\n"]]);
  });

  test("quiet hours begin nothing, and let what was begun go on; users are asked about both", async () => {
    const quiet = ruled({ agents: ["*"] }, { hours: { quiet: ["00:00-24:00"] } });
    expect((await run("begin", false, quiet)).outcome).toMatchObject({
      kind: "refused",
      error: { message: expect.stringContaining("no new work") },
    });
    expect((await run("go_on", true, quiet)).outcome).toMatchObject({ kind: "succeeded" });
    const bobs = ruled({ agents: ["*"] }, { users: { allow: ["bob"] } });
    expect((await run("go_on", true, bobs)).outcome).toEqual({ kind: "cancelled", cause: "policy" });
  });

  test("calls no tool", async () => {
    const tool: ToolSpec = { kind: "tool", input: { tool: "memory_search" } };
    const recorded = record(tool);
    const refused = await toolExecutor({ gateway: played({}), ...SHUT }).run(tool, recorded.execution);
    expect(refused).toMatchObject({ kind: "refused", error: { code: "policy_denied" } });
    expect(recorded.acted).toBe(false);
  });
});

test("prints text and tool calls in their order, text in one piece while the reader is slow", async () => {
  const events: TurnEvent[] = [
    { kind: "text", delta: "I " },
    { kind: "text", delta: "look." },
    { kind: "tool", phase: "start", name: "search", callId: "c1", data: { q: 1 } },
    { kind: "text", delta: "\nFound" },
    { kind: "text", delta: " it." },
    { kind: "tool", phase: "result", name: "search", callId: "c1" },
    { kind: "text", delta: "!" },
  ];
  const spec = agentSpec();
  const recorded = record(spec, { room: () => new Promise((resolve) => setImmediate(resolve)) });
  const gateway = played({
    turn: async (_turn, _signal, onEvent) => {
      for (const event of events) onEvent(event);
      expect(recorded.acted).toBe(true);
      return DONE;
    },
  });
  await agentExecutor({ gateway, ...OPEN }).run(spec, recorded.execution);
  expect(recorded.printed).toEqual([
    ["assistant", "I "],
    ["assistant", "look."],
    ["tool", "→ search\n", { phase: "start", name: "search", callId: "c1", data: { q: 1 } }],
    ["assistant", "\nFound it."],
    ["tool", "← search\n", { phase: "result", name: "search", callId: "c1" }],
    ["assistant", "!"],
  ]);
});

test("a turn without tools did not act", async () => {
  const spec = agentSpec();
  const recorded = record(spec);
  await agentExecutor({ gateway: played({ turn: () => Promise.resolve(DONE) }), ...OPEN }).run(spec, recorded.execution);
  expect(recorded.acted).toBe(false);
});

describe("a tool task", () => {
  const spec: ToolSpec = { kind: "tool", input: { tool: "memory_search", args: { query: "x" } } };

  test("calls the tool and gives its output", async () => {
    const calls: unknown[] = [];
    const gateway = played({ invokeTool: (call) => Promise.resolve((calls.push(call), { found: 1 })) });
    const recorded = record(spec);
    expect(await toolExecutor({ gateway, ...OPEN }).run(spec, recorded.execution)).toEqual({ kind: "succeeded", result: { found: 1 } });
    expect(calls).toEqual([
      {
        tool: "memory_search",
        args: { query: "x" },
        agent: "main",
        sessionKey: "agent:main:cluster-abcdefgh-t7",
        idempotencyKey: "ocx-abcdefgh-t7-a2-e3",
      },
    ]);
    expect(recorded.acted).toBe(true);
  });

  test("tells failures by their code, and an abort as cancelled", async () => {
    const gateway = played({ invokeTool: () => Promise.reject(new ClusterError("tool_failed", "memory_search: no")) });
    expect(await toolExecutor({ gateway, ...OPEN }).run(spec, record(spec).execution)).toEqual({
      kind: "failed",
      error: { code: "tool_failed", message: "memory_search: no" },
    });
    expect(await toolExecutor({ gateway, ...OPEN }).run(spec, record(spec, { signal: AbortSignal.abort("cancelled") }).execution)).toEqual({
      kind: "cancelled",
    });
  });
});
