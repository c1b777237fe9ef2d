/** What is waited for and what is not, how long, and what is told of it. A real daemon that comes first: tests/integration/worker-first.test.ts. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { silentLog } from "../system/log.ts";
import { waitPatiently } from "./patience.ts";

const URL = "http://studio:8888";
const away = new ClusterError("coordinator_unreachable", "The coordinator does not answer: ECONNREFUSED.");
const starting = new ClusterError("unavailable", "It is starting.");
const refused = new ClusterError("unauthorized", "Who are you?");

let told: string[];
let pauses: number[];
let giveUp: AbortController;
beforeEach(() => {
  told = [];
  pauses = [];
  giveUp = new AbortController();
});
afterEach(() => vi.useRealTimers());

function wait(attempt: (signal: AbortSignal, n: number) => Promise<string>, random = 0): Promise<string> {
  let n = 0;
  const parts = {
    whom: `the coordinator at ${URL}`,
    signal: giveUp.signal,
    log: silentLog,
    tell: (text: string) => void told.push(text),
    random: () => random,
    pause: async (ms: number) => void pauses.push(ms),
  };
  return waitPatiently(parts, (signal) => attempt(signal, ++n));
}

test("a coordinator that is there is not waited for, and nothing is told", async () => {
  expect(await wait(async () => "in")).toBe("in");
  expect([told, pauses]).toEqual([[], []]);
});

test("the pauses grow to ten seconds, half of each by chance, and the same reason is told ever more rarely (J2, J3)", async () => {
  for (const random of [0, 1]) {
    pauses = [];
    told = [];
    const found = wait(async (_signal, n) => {
      if (n <= 20) throw n <= 17 ? away : starting;
      return "in";
    }, random);
    expect(await found).toBe("in");
    expect(pauses.slice(0, 7)).toEqual([500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000].map((ms) => (ms * (1 + random)) / 2));
    expect(pauses.at(-1)).toBe(5_000 * (1 + random));
    expect(told).toEqual([
      ...["once", "2 times", "4 times", "8 times", "16 times"].map(
        (times) =>
          `waiting for the coordinator at ${URL}, tried ${times}: The coordinator does not answer: ECONNREFUSED (coordinator_unreachable)`,
      ),
      `waiting for the coordinator at ${URL}, tried 18 times: It is starting (unavailable)`,
      `the coordinator at ${URL} is there`,
    ]);
  }
});

test("patience that a coordinator asks for, it gets", async () => {
  const busy = new ClusterError("overloaded", "Later.", { retryAfterMs: 60_000 });
  await wait(async (_signal, n) => {
    if (n === 1) throw busy;
    return "in";
  });
  expect(pauses).toEqual([60_000]);
});

test.each([
  refused,
  new ClusterError("state_conflict", "The id belongs to another."),
  new ClusterError("internal", "nats-server refuses its new configuration"),
  new Error("a fault of ours"),
])("what does not pass by itself ends it, at once or when it is found out: %s (J1)", async (error) => {
  await expect(wait(() => Promise.reject(error))).rejects.toBe(error);
  await expect(wait((_signal, n) => Promise.reject(n === 1 ? away : error))).rejects.toBe(error);
  expect(pauses).toHaveLength(1);
});

test("a try that hangs is given up after fifteen seconds (J2)", async () => {
  vi.useFakeTimers();
  let ended: unknown;
  const found = wait((signal, n) => {
    if (n === 2) return Promise.resolve("in");
    signal.addEventListener("abort", () => (ended = signal.reason));
    return new Promise(() => undefined);
  });
  await vi.advanceTimersByTimeAsync(14_999);
  expect(told).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  expect(await found).toBe("in");
  expect(ended).toMatchObject({ code: "coordinator_unreachable", detail: "no answer within 15 s" });
});

test("whoever gives the start up waits for nothing (J4)", async () => {
  const hangs = wait(() => new Promise(() => undefined));
  giveUp.abort();
  await expect(hangs).rejects.toBe(giveUp.signal.reason);
  await expect(wait(async () => "in")).rejects.toBe(giveUp.signal.reason);
});
