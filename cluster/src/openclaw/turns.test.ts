/** Turns against a Gateway that is played: what the real one does seldom, and time that passes at once. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test } from "vitest";
import type { z } from "zod";
import type { Clock } from "../system/clock.ts";
import { silentLog } from "../system/log.ts";
import type { Connection, GatewayEvent, RequestOptions } from "./connection.ts";
import type { Turn, TurnEnd, TurnEvent, TurnStep } from "./openclaw.ts";
import { runTurn } from "./turns.ts";

/** Time jumps to the next timer whenever nothing else happens. */
class JumpingClock implements Clock {
  now = 0;
  #timers: { at: number; run: () => void }[] = [];
  wall = (): number => this.now;
  monotonic = (): number => this.now;
  soon = (run: () => void): void => void setImmediate(run);
  after(ms: number, run: () => void): { cancel(): void } {
    const timer = { at: this.now + ms, run };
    this.#timers.push(timer);
    return { cancel: () => void (this.#timers = this.#timers.filter((one) => one !== timer)) };
  }
  jump(): void {
    const [next] = this.#timers.toSorted((a, b) => a.at - b.at);
    if (next === undefined) return;
    this.#timers = this.#timers.filter((one) => one !== next);
    this.now = next.at;
    next.run();
  }
}

type Answer = (params: Record<string, unknown>, options: RequestOptions) => unknown;

class PlayedGateway implements Connection {
  readonly calls: { method: string; params: Record<string, unknown> }[] = [];
  readonly listeners = new Set<(event: GatewayEvent) => void>();
  answers: Record<string, Answer> = {};
  up = true;

  get hello(): { version: string; defaultAgent: string } | undefined {
    return this.up ? { version: "1", defaultAgent: "main" } : undefined;
  }
  onStatus = (): { stop(): void } => ({ stop: () => undefined });
  onEvent(listener: (event: GatewayEvent) => void): { stop(): void } {
    this.listeners.add(listener);
    return { stop: () => void this.listeners.delete(listener) };
  }
  async ready(): Promise<{ version: string; defaultAgent: string }> {
    if (!this.up) throw new ClusterError("gateway_unreachable", "The Gateway is away.");
    return { version: "1", defaultAgent: "main" };
  }
  async request<Schema extends z.ZodType>(
    method: string,
    params: object,
    schema: Schema,
    options: RequestOptions = {},
  ): Promise<z.infer<Schema>> {
    const known = params as Record<string, unknown>;
    this.calls.push({ method, params: known });
    if (!this.up) throw new ClusterError("gateway_unreachable", "The Gateway is away.");
    const answer = this.answers[method];
    if (answer === undefined) throw new ClusterError("gateway_refused", `no method ${method}`);
    return schema.parse(await answer(known, options));
  }
  count(method: string): number {
    return this.calls.filter((call) => call.method === method).length;
  }
}

const turn: Turn = {
  runId: "r1",
  message: "hello",
  agent: "main",
  sessionKey: "agent:main:s",
  timeoutMs: 600_000,
  permit: () => undefined,
};
const row = (runId: string, status: string): object => ({ tasks: [{ runId, status }] });
const history = (runId: string, text: string, resumedAs?: string): object => ({
  messages: [
    { role: "user", content: "hello", idempotencyKey: "r1:user" },
    ...(resumedAs === undefined
      ? []
      : [
          {
            role: "user",
            content: "go on",
            idempotencyKey: `${resumedAs}:user`,
            provenance: { sourceTool: "main_session_restart_recovery" },
          },
        ]),
    { role: "assistant", content: [{ type: "text", text }], __openclaw: { runId } },
  ],
});

interface Play {
  readonly gateway: PlayedGateway;
  readonly clock: JumpingClock;
  readonly unstopped: string[];
  readonly end: Promise<TurnEnd>;
}

function play(
  answers: Record<string, Answer>,
  signal = new AbortController().signal,
  change: Partial<Turn> = {},
  onEvent: (event: TurnEvent) => void = () => undefined,
): Play {
  const gateway = new PlayedGateway();
  gateway.answers = answers;
  const clock = new JumpingClock();
  const unstopped: string[] = [];
  const parts = {
    connection: gateway,
    clock,
    log: silentLog,
    unstopped: { add: (run: { runId: string }) => void unstopped.push(run.runId) },
  };
  let over = false;
  const end = runTurn(parts, { ...turn, ...change }, signal, onEvent).finally(() => (over = true));
  end.catch(() => undefined);
  void (async () => {
    for (let jumps = 0; !over && jumps < 10_000; jumps++) {
      await nextTurn();
      clock.jump();
    }
  })();
  return { gateway, clock, unstopped, end };
}

test("an unknown run is begun, under our id and with a time-out a little longer than ours", async () => {
  const { gateway, end } = play({
    "tasks.list": () => ({ tasks: [] }),
    agent: () => ({ status: "ok", result: { payloads: [{ text: "hi" }], meta: {} } }),
  });
  expect(await end).toEqual({ kind: "done", text: "hi", meta: { sessionKey: turn.sessionKey, toolCalls: 0 } });
  const [begun] = gateway.calls.filter((call) => call.method === "agent");
  expect(begun?.params).toEqual({
    message: "hello",
    agentId: "main",
    sessionKey: turn.sessionKey,
    deliver: false,
    idempotencyKey: "r1",
    timeout: 610,
  });
  expect(gateway.listeners.size).toBe(0);
});

test("R1: a run that the Gateway knows is waited for and never begun again", async () => {
  let waits = 0;
  const { gateway, end } = play({
    "tasks.list": () => row("r1", waits < 3 ? "running" : "completed"),
    "agent.wait": () => (++waits < 3 ? { status: "timeout" } : { status: "ok", endedAt: 1 }),
    "chat.history": () => history("r1", "done at last"),
  });
  expect(await end).toMatchObject({ kind: "done", text: "done at last" });
  expect(gateway.count("agent")).toBe(0);
});

test("R1: nor one that ended with an earlier process of the Gateway", async () => {
  const { gateway, end } = play({
    "tasks.list": () => row("r1", "completed"),
    "agent.wait": () => ({ status: "timeout" }),
    "chat.history": () => history("r1", "from before"),
  });
  expect(await end).toMatchObject({ kind: "done", text: "from before" });
  expect(gateway.count("agent")).toBe(0);
});

test("a turn that OpenClaw took up again is followed under its new id", async () => {
  let looks = 0;
  const { end } = play({
    "tasks.list": () => ({
      tasks: [
        { runId: "r1", status: "cancelled" },
        { runId: "r9", status: "running" },
      ],
    }),
    "agent.wait": ({ runId }) => (runId === "r9" ? { status: "ok", endedAt: 1 } : { status: "timeout" }),
    "chat.history": () => history("r9", "resumed", ++looks > 4 ? "r9" : undefined),
  });
  expect(await end).toMatchObject({ kind: "done", text: "resumed" });
});

test("R3: one that it does not take up again fails within a bound", async () => {
  const { end, clock } = play({
    "tasks.list": () => row("r1", "cancelled"),
    "agent.wait": () => ({ status: "timeout" }),
    "chat.history": () => history("r1", "half of it"),
  });
  expect(await end).toMatchObject({ kind: "failed", code: "agent_failed", message: expect.stringContaining("not taken up again") });
  expect(clock.now).toBeLessThan(70_000);
});

test("R2, R3: a Gateway that is lost for good ends the turn as unknown, and the run is noted for stopping", async () => {
  const { gateway, end, unstopped } = play({
    "tasks.list": () => ({ tasks: [] }),
    agent: (_params, { final }) => {
      final?.onSent();
      final?.onAccepted();
      gateway.up = false;
      throw new ClusterError("gateway_unreachable", "lost");
    },
  });
  expect(await end).toMatchObject({ kind: "failed", code: "gateway_unreachable" });
  expect(unstopped).toEqual(["r1"]);
});

test("a Gateway that answers but takes no runs is unreachable after a while", async () => {
  const full = new ClusterError("gateway_unreachable", "agent: too many requests");
  const { end, clock, unstopped } = play({ "tasks.list": () => ({ tasks: [] }), agent: () => Promise.reject(full) });
  await expect(end).rejects.toBe(full);
  expect(clock.now).toBeLessThan(30_000);
  expect(unstopped).toEqual([]);
});

test("R2: an abort is passed on, and noted for later when it is not answered", async () => {
  const controller = new AbortController();
  const answers: Record<string, Answer> = {
    "tasks.list": () => row("r1", "running"),
    "agent.wait": () => new Promise(() => controller.abort("cancelled")),
    "chat.history": () => history("r1", ""),
    "sessions.abort": () => ({ status: "aborted" }),
  };
  const first = play(answers, controller.signal);
  expect(await first.end).toEqual({ kind: "aborted" });
  expect(first.gateway.calls.at(-1)).toEqual({ method: "sessions.abort", params: { key: turn.sessionKey, runId: "r1" } });
  expect(first.unstopped).toEqual([]);

  for (const answer of [() => ({ status: "no-active-run" }), () => Promise.reject(new ClusterError("gateway_unreachable", "gone"))]) {
    const again = play({ ...answers, "sessions.abort": answer }, AbortSignal.abort("cancelled"));
    expect(await again.end).toEqual({ kind: "aborted" });
    expect(again.unstopped).toEqual(["r1"]);
  }
});

const tell = (gateway: PlayedGateway, stream: string, data: object): void => {
  for (const listener of gateway.listeners) listener({ event: "agent", payload: { runId: "r1", stream, data } });
};

test("R4: a provider that asks for more patience than OpenClaw's own is not waited for", async () => {
  const { end, gateway } = play({
    "tasks.list": () => ({ tasks: [] }),
    agent: (_params, { final }) => {
      final?.onAccepted();
      tell(gateway, "run_status", { phase: "retrying", reason: "rate_limit", delayMs: 30_000 });
      tell(gateway, "run_status", { phase: "retrying", reason: "rate_limit", delayMs: 90_000 });
      return new Promise(() => undefined);
    },
    "sessions.abort": () => ({ status: "aborted" }),
  });
  expect(await end).toMatchObject({ kind: "failed", code: "throttled", reason: "rate_limit", retryAfterMs: 90_000 });
  expect(gateway.count("sessions.abort")).toBe(1);
});

test("a throttled run that OpenClaw gave up itself is throttled, any other fault keeps its reason", async () => {
  for (const [failoverReason, told] of [
    ["rate_limit", { code: "throttled", reason: "rate_limit", retryAfterMs: 30_000 }],
    ["auth", { code: "agent_failed", reason: "auth" }],
  ] as const) {
    const { end, gateway } = play({
      "tasks.list": () => ({ tasks: [] }),
      agent: async () => {
        tell(gateway, "run_status", { phase: "retrying", reason: "rate_limit", delayMs: 30_000 });
        tell(gateway, "lifecycle", { phase: "error", errorObservation: { failoverReason } });
        return { status: "error", summary: "⚠️ no" };
      },
    });
    expect(await end).toEqual({ kind: "failed", message: "⚠️ no", ...told });
  }
});

test("R3: its own deadline stops it too", async () => {
  const { end, gateway } = play(
    {
      "tasks.list": () => row("r1", "running"),
      "agent.wait": () => ({ status: "timeout" }),
      "chat.history": () => history("r1", ""),
      "sessions.abort": () => ({ status: "aborted" }),
    },
    undefined,
    { timeoutMs: 5_000 },
  );
  expect(await end).toEqual({ kind: "failed", code: "run_timeout", message: "The turn ran longer than 5000 ms." });
  expect(gateway.count("sessions.abort")).toBe(1);
});

const forbids = (...steps: TurnStep[]): Partial<Turn> => ({ permit: (step) => (steps.includes(step) ? `no ${step}` : undefined) });

test("R5: nothing is begun without leave, also where it is taken back while the Gateway takes no runs", async () => {
  const unknown = { "tasks.list": () => ({ tasks: [] }) };
  const first = play(unknown, undefined, forbids("begin"));
  expect(await first.end).toEqual({ kind: "denied", reason: "no begin", ran: false });
  expect(first.gateway.count("agent") + first.gateway.count("sessions.patch")).toBe(0);

  let tries = 0;
  const busy = { ...unknown, agent: () => Promise.reject(new ClusterError("gateway_unreachable", "too many")) };
  const later = play(busy, undefined, { permit: () => (++tries > 2 ? "no more" : undefined) });
  expect(await later.end).toEqual({ kind: "denied", reason: "no more", ran: false });
  expect(later.gateway.count("agent")).toBe(2);
});

test("R5: a run that is found going on without leave is stopped, and what it used by then is told first", async () => {
  const used = (count: number): object => ({
    messages: Array.from({ length: count }, (_, index) => ({
      role: "assistant",
      content: [{ type: "toolCall", id: `c${index}`, name: "send_mail" }],
      __openclaw: { runId: "r1" },
    })),
  });
  const events: TurnEvent[] = [];
  let stopped = false;
  const { end, gateway, unstopped } = play(
    {
      "tasks.list": () => row("r1", "running"),
      // One call more, between the first look and the stop.
      "chat.history": () => used(stopped ? 2 : 1),
      "sessions.abort": () => ((stopped = true), { status: "aborted" }),
    },
    undefined,
    forbids("begin", "go_on"),
    (event) => void events.push(event),
  );
  expect(await end).toEqual({ kind: "denied", reason: "no go_on", ran: true });
  expect(events.map((event) => event.kind === "tool" && event.callId)).toEqual(["c0", "c1"]);
  expect([gateway.count("agent"), gateway.count("agent.wait"), unstopped]).toEqual([0, 0, []]);
});

test("R5: what has ended by then is told as it ended; a stop that is not answered is asked about", async () => {
  const over = play(
    {
      "tasks.list": () => row("r1", "completed"),
      "agent.wait": () => ({ status: "ok", endedAt: 1 }),
      "chat.history": () => history("r1", "done"),
    },
    undefined,
    forbids("begin", "go_on"),
  );
  expect(await over.end).toMatchObject({ kind: "done", text: "done" });

  let stops = 0;
  const deaf = play(
    {
      "tasks.list": () => row("r1", stops > 0 ? "cancelled" : "running"),
      "chat.history": () => history("r1", ""),
      "sessions.abort": () => ((stops += 1), Promise.reject(new ClusterError("gateway_unreachable", "gone"))),
      "agent.wait": () => (stops > 0 ? { status: "error", stopReason: "rpc", endedAt: 1 } : { status: "timeout" }),
    },
    undefined,
    forbids("go_on"),
  );
  expect(await deaf.end).toEqual({ kind: "denied", reason: "no go_on", ran: true });
});

test("R5: leave is not asked for again while a run that was begun here goes on", async () => {
  let begun = false;
  const { end } = play(
    {
      "tasks.list": () => (begun ? row("r1", "running") : { tasks: [] }),
      agent: (_params, { final }) => {
        begun = true;
        final?.onSent();
        throw new ClusterError("gateway_unreachable", "lost");
      },
      "agent.wait": () => ({ status: "ok", endedAt: 1 }),
      "chat.history": () => history("r1", "done"),
    },
    undefined,
    forbids("go_on"),
  );
  expect(await end).toMatchObject({ kind: "done" });
});
