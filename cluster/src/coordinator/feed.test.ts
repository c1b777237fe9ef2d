import type { ClusterEvent } from "@openclaw-cluster/contract/events";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import { expect, test } from "vitest";
import { create } from "../core/settle.ts";
import type { TaskRecord } from "../core/task.ts";
import { Feed, type News } from "./feed.ts";

const EPOCH = 3;
const FIRST = EPOCH * 2 ** 32 + 1;
const never = new AbortController().signal;

const task = (key: number, change: Partial<TaskRecord> = {}): News => ({
  task: { ...create(key, { kind: "echo", input: {} }, "tests", 1_000), ...change },
});
const tasks = (from: number, count: number): News[] => Array.from({ length: count }, (_, index) => task(from + index));

async function next(listening: AsyncGenerator<readonly ClusterEvent[]>): Promise<readonly ClusterEvent[]> {
  const { value } = await listening.next();
  return value as readonly ClusterEvent[];
}

test("a listener gets what comes after it began, in order, with growing ids", async () => {
  const feed = new Feed(EPOCH);
  feed.publish([task(1)], 5);
  const listening = feed.listen(undefined, never);
  const coming = next(listening);
  feed.publish([task(2), task(3)], 6);
  feed.publish([task(4)], 7);
  const first = await coming;
  feed.publish([task(5)], 8);
  expect([...first, ...(await next(listening))].map((event) => [event.id - FIRST, event.at, event.type === "task" && event.task])).toEqual([
    [1, 6, "t2"],
    [2, 6, "t3"],
    [3, 7, "t4"],
    [4, 8, "t5"],
  ]);
});

test("a listener that comes back gets what it missed", async () => {
  const feed = new Feed(EPOCH);
  feed.publish(tasks(1, 10), 5);
  const events = await next(feed.listen(FIRST + 6, never));
  expect(events.map(({ id }) => id - FIRST)).toEqual([7, 8, 9]);
});

test("whoever comes back too late, or from a later time than there was, gets one gap and then what follows", async () => {
  const feed = new Feed(EPOCH);
  feed.publish(tasks(1, LIMITS.eventsKept + 10), 5);
  const newest = FIRST + LIMITS.eventsKept + 9;
  for (const after of [FIRST, 17, newest + 1]) {
    const listening = feed.listen(after, never);
    expect(await next(listening)).toEqual([{ id: newest, at: 5, type: "gap" }]);
  }
  const listening = feed.listen(newest - LIMITS.eventsKept, never);
  expect(await next(listening)).toHaveLength(LIMITS.eventsKept);
});

test("a listener that does not read loses its place, not the feed", async () => {
  const feed = new Feed(EPOCH);
  const listening = feed.listen(FIRST - 1, never);
  feed.publish([task(1)], 5);
  await next(listening);
  feed.publish(tasks(2, LIMITS.eventsKept + 1), 6);
  expect((await next(listening)).map(({ type }) => type)).toEqual(["gap"]);
  feed.publish([task(9)], 7);
  expect((await next(listening)).map(({ at }) => at)).toEqual([7]);
});

test("results ride in events up to their limit, and all events together are bounded in bytes", async () => {
  const feed = new Feed(EPOCH);
  feed.publish([task(1, { result: "x".repeat(4_096) }), task(2, { result: "x".repeat(4_097) })], 5);
  const [small, large] = await next(feed.listen(FIRST - 1, never));
  expect(small).toHaveProperty("result");
  expect(large).not.toHaveProperty("result");
  feed.publish(
    Array.from({ length: 4_000 }, (_, index) => task(index + 3, { result: "x".repeat(4_000) })),
    6,
  );
  expect((await next(feed.listen(FIRST - 1, never))).map(({ type }) => type)).toEqual(["gap"]);
  expect(await next(feed.listen(FIRST + 4_001 - 1_900, never))).toHaveLength(1_900);
});

test("a listener ends with its signal", async () => {
  const feed = new Feed(EPOCH);
  const own = new AbortController();
  const listening = feed.listen(undefined, own.signal);
  const coming = listening.next();
  own.abort();
  expect(await coming).toEqual({ value: undefined, done: true });
});
