/** Tasks that others could keep out for ever, a bit at a time. */
import { describe, expect, it } from "vitest";
import type { TaskRecord } from "../task.ts";
import { agent, command, echo, id, node, noRandom, scheduler, task } from "./fixtures.ts";
import { HOLD_AFTER_MS } from "./hold.ts";
import type { Scheduler } from "./scheduler.ts";

const ada = id("ada");

/**
 * A stream that keeps the node full: at the start `running` are there, then with each step one task ends and two more
 * come. Gives the time at which `key` is placed.
 */
function streamUntil(
  made: Scheduler,
  key: number,
  stream: (key: number, now: number) => TaskRecord,
  running: TaskRecord[],
  untilMs: number,
): number {
  let next = 1_000;
  for (const one of running) made.reserve(one, ada);
  for (let now = 0; now <= untilMs; now += 100) {
    const ended = running.shift();
    if (ended !== undefined) made.release(ended, ada);
    for (let i = 0; i < 2; i++) made.enqueue(stream(next++, now));
    for (const decision of made.place(now, noRandom, 1_000)) {
      if (decision.key === key) return now;
      running.push(stream(decision.key, now));
    }
  }
  throw new Error("it was never placed");
}

describe("a hold", () => {
  it("empties a node for a task of several slots, once that has waited long enough", () => {
    const made = scheduler([node("ada", { slots: 4 })]);
    const small = (key: number, now: number): TaskRecord => task(key, { queuedAt: now });
    for (let key = 100; key < 104; key++) made.enqueue(small(key, 0));
    const first = made.place(0, noRandom, 4);
    made.enqueue(task(1, { spec: command({ require: { slots: 4 } }) }));
    made.release(task(first[0]?.key ?? 0), ada);
    made.enqueue(small(200, 0));
    expect(made.place(1_000, noRandom, 10).map(({ key }) => key)).toEqual([200]);
    for (const { key } of first.slice(1)) made.release(task(key), ada);
    made.enqueue(small(201, 1_000));
    // From here on the slots that come free are kept for it, whatever comes behind it.
    expect(made.place(HOLD_AFTER_MS, noRandom, 10)).toEqual([]);
    expect(made.explain(small(201, 1_000), HOLD_AFTER_MS).refused[0]).toMatchObject({ code: "slots_busy", detail: /emptied/ });
    made.release(task(200), ada);
    expect(made.place(HOLD_AFTER_MS + 1, noRandom, 10).map(({ key }) => key)).toEqual([1]);
  });

  it("ends the wait for several slots under a steady stream of small tasks", () => {
    const made = scheduler([node("ada", { slots: 4 })]);
    made.enqueue(task(1, { spec: command({ require: { slots: 4 } }), queuedAt: 1 }));
    const running = [100, 101, 102, 103].map((key) => task(key));
    const placedAt = streamUntil(made, 1, (key, now) => task(key, { queuedAt: now }), running, 2 * HOLD_AFTER_MS);
    expect(placedAt).toBeGreaterThanOrEqual(HOLD_AFTER_MS);
  });

  it("ends the wait for memory in the same way", () => {
    const made = scheduler([node("ada", { slots: 64 })]);
    const part = (key: number, now: number): TaskRecord => task(key, { queuedAt: now, spec: command({ require: { memoryMiB: 3_000 } }) });
    made.enqueue(task(1, { spec: command({ require: { memoryMiB: 9_000 } }) }));
    const placedAt = streamUntil(
      made,
      1,
      part,
      [100, 101, 102].map((key) => part(key, 0)),
      2 * HOLD_AFTER_MS,
    );
    expect(placedAt).toBeGreaterThanOrEqual(HOLD_AFTER_MS);
  });

  it("lets an agent turn through at once where short work is given far ahead", () => {
    const made = scheduler([node("ada", { slots: 2 })]);
    for (let key = 100; key < 250; key++) made.enqueue(task(key, { spec: echo() }));
    const leased = made.place(0, noRandom, 1_000);
    expect(leased.length).toBe(128);
    made.enqueue(task(300, { spec: agent(), priority: 5 }));
    for (const [index, { key }] of leased.entries()) {
      made.release(task(key, { spec: echo() }), ada);
      const now = 1 + index;
      const placed = made.place(now, noRandom, 1_000).map((decision) => decision.key);
      if (!placed.includes(300)) {
        expect(placed).toEqual([]);
        continue;
      }
      // As soon as less than all slots were taken; and with one slot left, echoes go on behind it.
      expect(index).toBe(126);
      expect(made.used(ada).slots).toBeGreaterThan(2);
      return;
    }
    throw new Error("it was never placed");
  });

  it("does not keep out what comes first", () => {
    const made = scheduler([node("ada", { slots: 2 })]);
    for (let key = 100; key < 140; key++) made.enqueue(task(key, { spec: echo() }));
    const [first] = made.place(0, noRandom, 32);
    made.enqueue(task(300, { spec: agent(), priority: 5 }));
    expect(made.place(1, noRandom, 1_000)).toEqual([]);
    made.release(task(first?.key ?? 0, { spec: echo() }), ada);
    made.enqueue(task(301, { spec: echo(), priority: 9 }));
    expect(made.place(2, noRandom, 1_000).map(({ key }) => key)).toEqual([301]);
  });

  it("ends when its task is taken away or its node leaves, and wakes those it kept out", () => {
    const made = scheduler([node("ada", { slots: 2 })]);
    made.reserve(task(99), ada);
    made.enqueue(task(1, { spec: command({ require: { slots: 2 } }) }));
    made.enqueue(task(2, { queuedAt: HOLD_AFTER_MS }));
    expect(made.place(HOLD_AFTER_MS, noRandom, 10)).toEqual([]);
    expect(made.dequeue(1)).toBe(true);
    expect(made.place(HOLD_AFTER_MS, noRandom, 10).map(({ key }) => key)).toEqual([2]);

    made.release(task(2), ada);
    made.enqueue(task(3, { spec: command({ require: { slots: 2, os: ["linux"] } }) }));
    made.enqueue(task(4, { queuedAt: HOLD_AFTER_MS }));
    expect(made.place(HOLD_AFTER_MS, noRandom, 10)).toEqual([]);
    made.setNode(node("ada", { slots: 2, facts: { os: "darwin" } }));
    expect(made.place(HOLD_AFTER_MS, noRandom, 10).map(({ key }) => key)).toEqual([4]);
  });

  it("does not keep out what rises above it, though the node has no news", () => {
    const made = scheduler([node("ada", { slots: 1 })]);
    for (const key of [1, 2]) made.enqueue(task(key, { spec: echo(), priority: key === 1 ? 4 : 0 }));
    made.enqueue(task(3, { spec: agent(), priority: 3 }));
    expect(made.place(0, noRandom, 10).map(({ key }) => key)).toEqual([1]);
    made.enqueue(task(4, { spec: echo(), priority: 9 }));
    expect(made.place(0, noRandom, 10).map(({ key }) => key)).toEqual([4]);
  });

  it("leaves to others what its task does not need, also after a change of hands", () => {
    const made = scheduler([node("ada", { slots: 4 })]);
    made.reserve(task(99, { spec: command({ require: { memoryMiB: 500 } }) }), ada);
    made.enqueue(task(1, { spec: command({ require: { slots: 4 } }) }));
    made.enqueue(task(2, { queuedAt: HOLD_AFTER_MS }));
    expect(made.place(HOLD_AFTER_MS, noRandom, 10)).toEqual([]);
    made.enqueue(task(3, { spec: command({ require: { memoryMiB: 9_000 } }), priority: 5 }));
    expect(made.place(HOLD_AFTER_MS, noRandom, 10).map(({ key }) => key)).toEqual([2]);
  });

  it("passes to the next in line when its task is taken away, also behind work given ahead", () => {
    const made = scheduler([node("ada", { slots: 2 })]);
    for (const key of [98, 99]) made.reserve(task(key, { spec: agent() }), ada);
    made.enqueue(task(1, { spec: command({ require: { slots: 2 } }), priority: 5 }));
    made.enqueue(task(2, { spec: agent() }));
    expect(made.place(HOLD_AFTER_MS, noRandom, 10)).toEqual([]);
    for (let key = 10; key < 15; key++) made.enqueue(task(key, { spec: echo(), priority: 9, queuedAt: HOLD_AFTER_MS }));
    made.release(task(98, { spec: agent() }), ada);
    expect(made.place(HOLD_AFTER_MS, noRandom, 10).length).toBe(5);
    expect(made.dequeue(1)).toBe(true);
    made.enqueue(task(20, { spec: echo(), queuedAt: HOLD_AFTER_MS }));
    expect(made.place(HOLD_AFTER_MS, noRandom, 10)).toEqual([]);
  });

  it("is not put on a node that refuses the shape for now", () => {
    const made = scheduler([node("ada", { slots: 2 })]);
    const large = task(1, { spec: command({ require: { slots: 2 } }) });
    made.penalise(large, ada, 10 * HOLD_AFTER_MS);
    made.enqueue(large);
    made.enqueue(task(2));
    expect(made.place(HOLD_AFTER_MS, noRandom, 10).map(({ key }) => key)).toEqual([2]);
  });

  it("is told to those that were asleep when it began, so that they can rise above it", () => {
    const made = scheduler([node("ada", { slots: 2 })]);
    for (const key of [98, 99]) made.reserve(task(key, { spec: agent() }), ada);
    made.enqueue(task(2, { spec: echo(), priority: 0, queuedAt: HOLD_AFTER_MS }));
    made.place(0, noRandom, 10);
    made.enqueue(task(3, { spec: command({ require: { slots: 2 } }), priority: 3 }));
    made.place(HOLD_AFTER_MS, noRandom, 10);
    made.release(task(98, { spec: agent() }), ada);
    expect(made.place(HOLD_AFTER_MS, noRandom, 10)).toEqual([]);
    made.enqueue(task(4, { spec: echo(), priority: 9, queuedAt: HOLD_AFTER_MS }));
    expect(made.place(HOLD_AFTER_MS, noRandom, 10).map(({ key }) => key)).toEqual([4]);
  });

  it("is given up when the node refuses the shape", () => {
    const made = scheduler([node("ada", { slots: 2 })]);
    const large = (key: number): TaskRecord => task(key, { spec: command({ require: { slots: 2 } }) });
    for (const key of [1, 2]) made.enqueue(large(key));
    expect(made.place(HOLD_AFTER_MS, noRandom, 10).map(({ key }) => key)).toEqual([1]);
    made.release(large(1), ada);
    made.enqueue(large(1));
    made.penalise(large(1), ada, 10 * HOLD_AFTER_MS);
    made.enqueue(task(3, { queuedAt: HOLD_AFTER_MS }));
    expect(made.place(HOLD_AFTER_MS, noRandom, 10).map(({ key }) => key)).toEqual([3]);
  });
});
