/**
 * Our side of the Gateway against a real one, with a scripted model behind it. One Gateway serves the whole file; the
 * last test kills it and starts it again.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { ClusterError } from "@openclaw-cluster/contract/errors";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { connectGateway } from "../../cluster/src/openclaw/gateway.ts";
import type { Gateway, Turn, TurnEvent } from "../../cluster/src/openclaw/openclaw.ts";
import { systemClock, type Clock } from "../../cluster/src/system/clock.ts";
import { silentLog } from "../../cluster/src/system/log.ts";
import { startGateway, type GatewayOptions, type RunningGateway } from "../support/gateway.ts";
import { startModelServer, type ModelRequest, type ModelServer } from "../support/model-server.ts";

const SKILLS = [
  { name: "haiku", text: "---\nname: haiku\ndescription: Writes haikus.\n---\nWrite three lines.\n" },
  {
    name: "needy",
    text: "---\nname: needy\ndescription: Needs a program.\nmetadata:\n  openclaw:\n    requires: { bins: [no-such-program] }\n---\nRun it.\n",
  },
];
const START_MS = 200_000;

let folder: string;
let models: ModelServer;
let options: GatewayOptions;
let running: RunningGateway;
let gateway: Gateway;
const opened: Gateway[] = [];
let runs = 0;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "ocx-openclaw-"));
  models = await startModelServer();
  options = { folder: join(folder, "gateway"), modelUrl: models.url, name: "alpha", skills: SKILLS };
  running = await startGateway(options);
  gateway = connect();
}, START_MS);

afterEach(async () => {
  for (const one of opened.splice(0)) await one.close();
});

afterAll(async () => {
  await gateway?.close();
  await running?.stop();
  await models?.close();
  rmSync(folder, { recursive: true, force: true });
});

function connect(change: { url?: string; token?: string; clock?: Clock } = {}): Gateway {
  const { url, token } = running;
  return connectGateway({ url, token, identityFile: join(folder, "device.json"), log: silentLog, clock: systemClock, ...change });
}

/** A second connection, closed after the test. */
function another(change?: Parameters<typeof connect>[0]): Gateway {
  const one = connect(change);
  opened.push(one);
  return one;
}

function turnOf(message: string): Turn {
  runs += 1;
  const sessionKey = `agent:main:cluster-test-t${runs}`;
  return { runId: `ocx-test-t${runs}-a1-e1`, message, agent: "main", sessionKey, timeoutMs: 120_000, permit: () => undefined };
}

async function until<T>(what: string, find: () => T | undefined, limitMs = 60_000): Promise<T> {
  const giveUpAt = performance.now() + limitMs;
  for (;;) {
    const found = find();
    if (found !== undefined) return found;
    if (performance.now() > giveUpAt) throw new Error(`waited ${limitMs} ms for: ${what}`);
    await pause(20);
  }
}

const requestsFor = (text: string): readonly ModelRequest[] => models.requests.filter((request) => request.text === text);
const firstRequest = (text: string): Promise<ModelRequest> => until(`a model request for ${text}`, () => requestsFor(text)[0]);
const never = new AbortController().signal;
const words = (count: number): string => Array.from({ length: count }, (_, index) => `word${index + 1}`).join(" ");
/** Every wait of ours passes twenty times as fast; the Gateway's own pace stays. */
const hurried: Clock = { ...systemClock, after: (ms, run) => systemClock.after(ms / 20, run) };

function collect(): { events: TurnEvent[]; text: () => string; onEvent: (event: TurnEvent) => void } {
  const events: TurnEvent[] = [];
  const text = (): string => events.map((event) => (event.kind === "text" ? event.delta : "")).join("");
  return { events, text, onEvent: (event) => void events.push(event) };
}

async function failure(promise: Promise<unknown>): Promise<ClusterError> {
  return promise.then(
    (value) => expect.fail(`expected an error, got ${JSON.stringify(value)}`),
    (error: ClusterError) => error,
  );
}

test("the inventory: version, agents, models, skills with what they lack", async () => {
  const inventory = await gateway.inventory();
  expect(inventory.version).toMatch(/^20\d\d\./);
  expect(inventory.agents).toEqual(["main"]);
  expect(inventory.models).toEqual([{ id: "scripted-1", provider: "scripted", contextWindow: 128_000 }]);
  expect(inventory.skills).toContainEqual({ name: "haiku", eligible: true });
  expect(inventory.skills).toContainEqual({ name: "needy", eligible: false, missing: ["program no-such-program"] });
  expect(gateway.defaultAgent).toBe("main");
});

describe("a turn", () => {
  test("streams its words and ends with the whole text", async () => {
    const { text, onEvent } = collect();
    const turn = turnOf("slow 5");
    const end = await gateway.turn(turn, never, onEvent);
    expect(end).toMatchObject({
      kind: "done",
      text: words(5),
      meta: { model: "scripted-1", provider: "scripted", sessionKey: turn.sessionKey, toolCalls: 0, usage: { input: 100, output: 5 } },
    });
    expect(text()).toBe(words(5));
    expect(await firstRequest("slow 5")).toMatchObject({ gateway: "alpha", aborted: false });
  });

  test("tells its tool calls, with arguments and results", async () => {
    const { events, onEvent } = collect();
    const end = await gateway.turn(turnOf('use tool sessions_list {"limit":1}'), never, onEvent);
    expect(end).toMatchObject({ kind: "done", text: expect.stringContaining("the tool gave"), meta: { toolCalls: 1 } });
    const calls = events.filter((event) => event.kind === "tool");
    expect(calls).toEqual([
      { kind: "tool", phase: "start", name: "sessions_list", callId: "call_1", data: { limit: 1 } },
      {
        kind: "tool",
        phase: "result",
        name: "sessions_list",
        callId: "call_1",
        data: { isError: false, text: expect.stringContaining("count") },
      },
    ]);
  });

  test("with a model: the Gateway is asked for it, and refuses one it does not have", async () => {
    const end = await gateway.turn({ ...turnOf("with a model"), model: "scripted/scripted-1" }, never, () => undefined);
    expect(end).toMatchObject({ kind: "done", text: "echo: with a model" });
    const refused = await failure(gateway.turn({ ...turnOf("with no model"), model: "nobody/none" }, never, () => undefined));
    expect(refused.code).toBe("gateway_refused");
    expect(requestsFor("with no model")).toEqual([]);
  });

  test("an agent that is not there is refused, a model that fails is the turn's end", async () => {
    const nobody = { ...turnOf("hello"), agent: "nobody", sessionKey: "agent:nobody:cluster-test" };
    expect(await failure(gateway.turn(nobody, never, () => undefined))).toMatchObject({
      code: "gateway_refused",
      detail: expect.stringContaining("nobody"),
    });
    const failing = turnOf("fail 400");
    const end = await gateway.turn(failing, never, () => undefined);
    expect(end).toMatchObject({ kind: "failed", code: "agent_failed", reason: "format" });
    // Of a run that is over the Gateway keeps the sentence, not the reason.
    const { reason: _reason, ...kept } = end as Extract<typeof end, { kind: "failed" }>;
    expect(await gateway.turn(failing, never, () => undefined)).toEqual(kept);
    expect(requestsFor("fail 400")).toHaveLength(1);
  });

  test("a provider that throttles for long is not waited for: the turn ends at once, and says for how long", async () => {
    const turn = turnOf("fail 429 3600");
    const end = await gateway.turn(turn, never, () => undefined);
    expect(end).toMatchObject({ kind: "failed", code: "throttled", reason: "rate_limit", retryAfterMs: 3_600_000 });
    // R2: OpenClaw does not wait for the hour either.
    expect(await gateway.turn(turn, never, () => undefined)).toMatchObject({ kind: "aborted" });
  });

  test("agents and sessions in capitals are the same ones, and capitals lead to no other", async () => {
    const small = { ...turnOf("said in small letters"), sessionKey: "agent:main:cluster-test-fold" };
    const capitals = { ...turnOf("asked in capitals"), agent: "MAIN", sessionKey: "agent:MAIN:CLUSTER-TEST-FOLD" };
    for (const turn of [small, capitals]) expect(await gateway.turn(turn, never, () => undefined)).toMatchObject({ kind: "done" });
    expect((await firstRequest(capitals.message)).shows(small.message)).toBe(true);
  });

  test("the same run id twice is one run", async () => {
    const turn = turnOf("only once");
    const first = await gateway.turn(turn, never, () => undefined);
    const second = await gateway.turn(turn, never, () => undefined);
    expect(first).toMatchObject({ kind: "done", text: "echo: only once" });
    expect(second).toMatchObject({ kind: "done", text: "echo: only once", meta: { model: "scripted-1", provider: "scripted" } });
    expect(requestsFor("only once")).toHaveLength(1);
  });

  test("goes on without its connection; a new one with the same identity takes it up and gets the whole text", async () => {
    const turn = turnOf("please wait\nslow 40");
    const first = another();
    const lost = first.turn(turn, never, () => undefined).catch(() => undefined);
    await firstRequest(turn.message);
    await first.close();
    await lost;
    const { text, onEvent } = collect();
    const end = await another().turn(turn, never, onEvent);
    expect(end).toMatchObject({ kind: "done", text: words(40), meta: { toolCalls: 0, model: "scripted-1" } });
    expect(text()).toBe(words(40));
    expect(requestsFor(turn.message)).toHaveLength(1);
  });

  test("tool calls of a run that another connection began are told too", async () => {
    const turn = turnOf('slow tool\nuse tool memory_search {"query":"nothing"}');
    const { events, onEvent } = collect();
    const ends = await Promise.all([gateway.turn(turn, never, () => undefined), another().turn(turn, never, onEvent)]);
    expect(ends.map((end) => end.kind)).toEqual(["done", "done"]);
    expect(events).toContainEqual({ kind: "tool", phase: "start", name: "memory_search", callId: "call_1" });
    expect(requestsFor(turn.message)).toHaveLength(2);
  });

  test("an abort closes the model's request within a second, also on another connection than the one that began it", async () => {
    for (const [message, stopper] of [
      ["slow 300", gateway],
      ["slow 301", another()],
    ] as const) {
      const turn = turnOf(message);
      const began = gateway.turn(turn, stopper === gateway ? abortAfterRequest(message) : never, () => undefined);
      const request = await firstRequest(message);
      if (stopper !== gateway) await stopper.turn(turn, abortAfterRequest(message), () => undefined);
      expect(await began).toEqual({ kind: "aborted" });
      const closedAt = await until("the model's request to close", () => request.closedAt);
      expect(request.aborted).toBe(true);
      expect(closedAt - (abortedAt.get(message) ?? 0)).toBeLessThan(1_000);
      expect(await gateway.turn(turn, never, () => undefined)).toEqual({ kind: "aborted" });
    }
  });

  test("its own deadline stops it in the Gateway", async () => {
    const end = await gateway.turn({ ...turnOf("slow 302"), timeoutMs: 3_000 }, never, () => undefined);
    expect(end).toMatchObject({ kind: "failed", code: "run_timeout" });
    const request = await firstRequest("slow 302");
    await until("the model's request to close", () => request.closedAt);
    expect(request.aborted).toBe(true);
  });
});

const abortedAt = new Map<string, number>();
/** Aborts when the turn's words flow. */
function abortAfterRequest(message: string): AbortSignal {
  const controller = new AbortController();
  void firstRequest(message).then(async () => {
    await pause(300);
    abortedAt.set(message, Date.now());
    controller.abort("cancelled");
  });
  return controller.signal;
}

describe("a tool", () => {
  test("gives its output", async () => {
    const result = await gateway.invokeTool({ tool: "sessions_list", args: { limit: 1 }, agent: "main", idempotencyKey: "k1" }, never);
    expect(result).toMatchObject({ content: [{ type: "text", text: expect.stringContaining("sessions") }] });
  });

  test("that fails, or is not there, is told apart", async () => {
    expect(await failure(gateway.invokeTool({ tool: "memory_get", args: {}, idempotencyKey: "k2" }, never))).toMatchObject({
      code: "tool_failed",
    });
    expect(await failure(gateway.invokeTool({ tool: "no_such_tool", args: {}, idempotencyKey: "k3" }, never))).toMatchObject({
      code: "gateway_refused",
    });
  });
});

describe("no connection", () => {
  test("a wrong token is told as such, and stands in no error", async () => {
    const token = "not-the-token-of-this-gateway";
    const error = await failure(another({ token }).inventory());
    expect(error).toMatchObject({ code: "gateway_unreachable", detail: expect.stringContaining("refused the connection") });
    expect(JSON.stringify(error) + error.message).not.toContain(token);
    const tool = await failure(another({ token }).invokeTool({ tool: "sessions_list", args: {}, idempotencyKey: "k4" }, never));
    expect(tool).toMatchObject({ code: "gateway_refused" });
  });

  test("nobody there: gateway_unreachable, for turns, inventory and tools", async () => {
    const url = `ws://127.0.0.1:${await unusedPort()}`;
    const away = another({ url, clock: hurried });
    expect(away.reachable).toBe(false);
    expect(await failure(away.turn(turnOf("hello"), never, () => undefined))).toMatchObject({ code: "gateway_unreachable" });
    expect(await failure(away.inventory())).toMatchObject({ code: "gateway_unreachable", detail: expect.stringContaining("ECONNREFUSED") });
    expect(await failure(away.invokeTool({ tool: "x", args: {}, idempotencyKey: "k5" }, never))).toMatchObject({
      code: "gateway_unreachable",
    });
  });
});

test(
  "a Gateway that crashes: who waits gets the turn's end from its resumption; what was given up is stopped when it is back",
  async () => {
    const kept = turnOf("keep me\nslow 60");
    const given = { ...turnOf("give me up\nslow 400"), timeoutMs: 3_600_000 };
    const impatient = another({ clock: hurried });
    await until("a connection", () => impatient.reachable || undefined);
    const waiting = gateway.turn({ ...kept, timeoutMs: 300_000 }, never, () => undefined);
    const leaving = impatient.turn(given, never, () => undefined);
    await Promise.all([firstRequest(kept.message), firstRequest(given.message)]);

    await running.kill();
    expect(await leaving).toMatchObject({ kind: "failed", code: "gateway_unreachable" });
    running = await startGateway({ ...options, port: running.port, token: running.token });

    expect(await waiting).toMatchObject({ kind: "done", text: words(60) });
    // OpenClaw takes both turns up again by itself; the second one is ours to stop.
    const resumed = await until("the given-up turn to be taken up and stopped", () =>
      models.requests.find(
        (request) =>
          request.text.includes(given.message) &&
          request.at > Number(requestsFor(given.message)[0]?.closedAt) &&
          request.closedAt !== undefined,
      ),
    );
    expect(resumed.aborted).toBe(true);
  },
  2 * START_MS,
);

async function unusedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address() as AddressInfo;
  await new Promise((closed) => server.close(closed));
  return port;
}
