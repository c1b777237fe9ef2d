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

const PER_COMMIT = 64;
const KEPT = Math.floor(LIMITS.eventsKept / PER_COMMIT) * PER_COMMIT;

function commits(feed: Feed, count: number, result?: string): void {
  for (let n = 0; n < count; n++) {
    const news = tasks(1, PER_COMMIT);
    feed.publish(result === undefined ? news : news.map(() => task(1, { result })), 5 + n);
  }
}

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
  const count = KEPT / PER_COMMIT + 3;
  commits(feed, count);
  const newest = FIRST + count * PER_COMMIT - 1;
  const oldest = newest - KEPT + 1;
  for (const after of [FIRST, oldest - 2, newest + 1]) {
    expect(await next(feed.listen(after, never))).toEqual([{ id: newest, at: 4 + count, type: "gap" }]);
  }
  expect((await next(feed.listen(oldest - 1, never)))[0]?.id).toBe(oldest);
});

test("a commit is seen whole, however large", async () => {
  const feed = new Feed(EPOCH);
  const listening = feed.listen(undefined, never);
  const coming = next(listening);
  feed.publish(tasks(1, 2 * LIMITS.eventsKept), 5);
  expect(await coming).toHaveLength(2 * LIMITS.eventsKept);
});

test("a listener that does not read loses its place, not the feed", async () => {
  const feed = new Feed(EPOCH);
  const listening = feed.listen(FIRST - 1, never);
  feed.publish([task(1)], 5);
  await next(listening);
  commits(feed, KEPT / PER_COMMIT + 1);
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
  const perCommit = PER_COMMIT * (256 + 4_000);
  const kept = Math.floor(LIMITS.eventBytesKept / perCommit);
  commits(feed, kept + 1, "x".repeat(4_000));
  expect((await next(feed.listen(FIRST + 2, never))).map(({ type }) => type)).toEqual(["gap"]);
  expect((await next(feed.listen(FIRST + 1 + PER_COMMIT, never))).map(({ id }) => id - FIRST)[0]).toBe(2 + PER_COMMIT);
});

test("a listener ends with its signal", async () => {
  const feed = new Feed(EPOCH);
  const own = new AbortController();
  const listening = feed.listen(undefined, own.signal);
  const coming = listening.next();
  own.abort();
  expect(await coming).toEqual({ value: undefined, done: true });
});
