/** Tasks that others could keep out for ever, a bit at a time. */
import { describe, expect, it } from "vitest";
import type { TaskRecord } from "../task.ts";
import { agent, command, echo, id, node, noRandom, scheduler, task } from "./fixtures.ts";
import { HOLD_AFTER_MS } from "./hold.ts";
import type { Scheduler } from "./scheduler.ts";

const ada = id("ada");

/** A stream that keeps the node full: each step one task ends and two more come. Gives the time at which `key` is placed. */
function streamUntil(made: Scheduler, key: number, stream: (key: number, now: number) => TaskRecord, untilMs: number): number {
  const running: TaskRecord[] = [];
  let next = 1_000;
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
    for (let key = 100; key < 104; key++) made.reserve(task(key), ada);
    const placedAt = streamUntil(made, 1, (key, now) => task(key, { queuedAt: now }), 2 * HOLD_AFTER_MS);
    expect(placedAt).toBeGreaterThanOrEqual(HOLD_AFTER_MS);
  });

  it("ends the wait for memory in the same way", () => {
    const made = scheduler([node("ada", { slots: 64 })]);
    const part = (key: number, now: number): TaskRecord => task(key, { queuedAt: now, spec: command({ require: { memoryMiB: 3_000 } }) });
    made.enqueue(part(100, 0));
    made.place(0, noRandom, 1);
    made.enqueue(task(1, { spec: command({ require: { memoryMiB: 9_000 } }) }));
    const placedAt = streamUntil(made, 1, part, 2 * HOLD_AFTER_MS);
    expect(placedAt).toBeGreaterThanOrEqual(HOLD_AFTER_MS);
  });

  it("lets an agent turn through at once where short work is given far ahead", () => {
    const made = scheduler([node("ada", { slots: 2 })]);
    for (let key = 100; key < 200; key++) made.enqueue(task(key, { spec: echo() }));
    const leased = made.place(0, noRandom, 1_000);
    expect(leased.length).toBe(32);
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
      expect(index).toBe(30);
      expect(made.used(ada).slots).toBeGreaterThan(2);
      return;
    }
    throw new Error("it was never placed");
  });

  it("does not keep out what comes first", () => {
    const made = scheduler([node("ada", { slots: 2 })]);
    for (let key = 100; key < 140; key++) made.enqueue(task(key, { spec: echo() }));
    const [first] = made.place(0, noRandom, 32);
    made.enqueue(task(300, { spec: agent() , priority: 5 }));
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
});
