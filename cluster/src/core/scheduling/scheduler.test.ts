import { describe, expect, it } from "vitest";
import { AGING_MS } from "./aging.ts";
import { agent, command, echo, id, node, noRandom, placeAll, scheduler, task } from "./fixtures.ts";
import { CANDIDATES_KEPT, REFUSED_KEPT } from "./placement.ts";

const ada = id("ada");
const keys = (decisions: readonly { key: number }[]): number[] => decisions.map(({ key }) => key);

describe("the queue", () => {
  it("gives out the most urgent first, then the oldest, and no more than asked", () => {
    const made = scheduler([node("ada", { slots: 8 })]);
    for (const [key, priority] of [
      [1, 2],
      [2, 9],
      [3, 4],
      [4, 9],
    ] as const)
      made.enqueue(task(key, { priority }));
    expect(keys(made.place(0, noRandom, 2))).toEqual([2, 4]);
    expect(made.size).toBe(2);
    expect(keys(made.place(0, noRandom, 0))).toEqual([]);
    expect(keys(made.place(0, noRandom, 9))).toEqual([3, 1]);
  });

  it("puts a task that comes back before its followers", () => {
    const made = scheduler([node("ada", { slots: 8 })]);
    for (const key of [5, 6, 2, 7, 1]) made.enqueue(task(key));
    expect(made.head(3, 0).map(({ key }) => key)).toEqual([1, 2, 5]);
    made.dequeue(2);
    expect(made.position(6, 0)).toBe(2);
    expect(made.position(2, 0)).toBeUndefined();
    expect(keys(made.place(0, noRandom, 9))).toEqual([1, 5, 6, 7]);
  });

  it("raises what waits by a level every five minutes, also what is asleep", () => {
    const made = scheduler([node("ada", { slots: 1 })]);
    made.enqueue(task(1, { priority: 4 }));
    made.place(0, noRandom, 1);
    made.enqueue(task(2, { priority: 3 }));
    made.place(1, noRandom, 1);
    made.enqueue(task(3, { priority: 4, queuedAt: AGING_MS }));
    made.place(AGING_MS, noRandom, 1);
    made.release(task(1), ada);
    expect(keys(made.place(AGING_MS, noRandom, 1))).toEqual([2]);
  });

  it("refuses the same task twice", () => {
    const made = scheduler([]);
    made.enqueue(task(1));
    expect(() => made.enqueue(task(1))).toThrow("t1 is queued already");
    expect(made.has(1)).toBe(true);
    expect(made.dequeue(1)).toBe(true);
    expect(made.dequeue(1)).toBe(false);
  });

  it("keeps its place through many shapes that come and go", () => {
    const made = scheduler([node("ada", { slots: 4 })]);
    made.enqueue(task(1, { spec: command({ require: { nodes: [id("bob")] } }) }));
    for (let key = 2; key < 5_000; key++) {
      made.enqueue(task(key, { spec: command({ require: { memoryMiB: key } }) }));
      expect(made.dequeue(key)).toBe(true);
    }
    expect(made.size).toBe(1);
    made.setNode(node("bob"));
    expect(keys(made.place(0, noRandom, 9))).toEqual([1]);
  });
});

describe("reservations", () => {
  it("are taken by placing and by recovery, and given back once", () => {
    const made = scheduler([node("ada", { slots: 2 })]);
    const large = task(1, { spec: command({ require: { slots: 2, memoryMiB: 100 } }) });
    made.reserve(large, ada);
    expect(made.used(ada)).toEqual({ slots: 2, memoryMiB: 100 });
    made.enqueue(task(2));
    expect(made.place(0, noRandom, 1)).toEqual([]);
    made.release(large, ada);
    expect(keys(made.place(0, noRandom, 1))).toEqual([2]);
    expect(made.used(ada)).toEqual({ slots: 1, memoryMiB: 0 });
    expect(() => made.release(large, ada)).toThrow("more was released on ada");
  });

  it("outlive their node, and come before it after a restart", () => {
    const made = scheduler([]);
    made.reserve(task(1), ada);
    made.setNode(node("ada", { slots: 1 }));
    made.enqueue(task(2));
    expect(made.place(0, noRandom, 1)).toEqual([]);
    made.removeNode(ada);
    expect(made.used(ada).slots).toBe(1);
    made.setNode(node("ada", { slots: 1 }));
    expect(made.place(0, noRandom, 1)).toEqual([]);
    made.release(task(1), ada);
    expect(keys(made.place(0, noRandom, 1))).toEqual([2]);
  });

  it("go ahead of the slots for work that is known to be short, and stop when it is not", () => {
    const made = scheduler([node("ada", { slots: 2 })]);
    for (let key = 1; key <= 200; key++) made.enqueue(task(key, { spec: echo() }));
    expect(made.place(0, noRandom, 1_000).length).toBe(128);
    for (let key = 201; key <= 210; key++) made.enqueue(task(key, { spec: command() }));
    made.observe(ada, "echo", 500, true);
    made.release(task(1, { spec: echo() }), ada);
    expect(made.place(1, noRandom, 1_000)).toEqual([]);
  });

  it("are not made ahead behind work that fills the slots for long", () => {
    const made = scheduler([node("ada", { slots: 2 })]);
    placeAll(made, [agent()]);
    for (let key = 10; key < 100; key++) made.enqueue(task(key, { spec: echo() }));
    expect(made.place(0, noRandom, 1_000).length).toBe(64);
    const full = scheduler([node("ada", { slots: 2 })]);
    placeAll(full, [agent(), agent()]);
    full.enqueue(task(10, { spec: echo() }));
    expect(full.place(0, noRandom, 1_000)).toEqual([]);
  });
});

describe("news of nodes", () => {
  it("wakes what they can run: a node that joins, resumes, is ready again, or changes its facts", () => {
    const made = scheduler([]);
    const needs = command({ require: { skills: ["notes"] } });
    made.enqueue(task(1));
    made.enqueue(task(2, { spec: needs }));
    expect(made.place(0, noRandom, 9)).toEqual([]);
    made.setNode(node("ada", { draining: true }));
    expect(made.place(0, noRandom, 9)).toEqual([]);
    made.setNode(node("ada"));
    expect(keys(made.place(0, noRandom, 9))).toEqual([1]);
    made.setNode(node("ada", { state: "suspect", facts: { skills: [{ name: "notes", eligible: true }] } }));
    expect(made.place(0, noRandom, 9)).toEqual([]);
    made.setNode(node("ada", { facts: { skills: [{ name: "notes", eligible: true }] } }));
    expect(keys(made.place(0, noRandom, 9))).toEqual([2]);
  });

  it("takes a node out whose disk is full, says how full it is by now, and wakes what waits when there is room", () => {
    const made = scheduler([node("ada")]);
    const load = { cpu: 0.5, memoryFreeMiB: 1, diskFreeMiB: 90, running: 0, held: 0 };
    made.setLoad(ada, { ...load, diskFull: "floor" });
    made.enqueue(task(1));
    expect(made.place(0, noRandom, 9)).toEqual([]);
    made.setLoad(ada, { ...load, diskFreeMiB: 12, diskFull: "floor" });
    expect(made.explain(task(1), 0)).toMatchObject({
      sentence: expect.stringContaining("ada takes no new work (disk full: 12 MiB free) (free disk space on ada; it goes on by itself)"),
      refused: [{ node: "ada", code: "disk_full" }],
    });
    expect(made.place(0, noRandom, 9)).toEqual([]);
    made.setLoad(ada, load);
    expect(keys(made.place(0, noRandom, 9))).toEqual([1]);
  });

  it("asks a node at once that had refused for want of room, and has room again", () => {
    const made = scheduler([node("ada")]);
    const load = { cpu: 0.5, memoryFreeMiB: 1, diskFreeMiB: 90, running: 0, held: 0 };
    made.penalise(task(1), ada, 60_000);
    made.setLoad(ada, { ...load, diskFull: "write" });
    made.enqueue(task(1));
    expect(made.place(0, noRandom, 9)).toEqual([]);
    made.setLoad(ada, load);
    expect(keys(made.place(1, noRandom, 9))).toEqual([1]);
  });

  it("passes a node over that has refused the shape, until the time is up", () => {
    const made = scheduler([node("ada"), node("bob", { draining: true })]);
    made.penalise(task(1), ada, 5_000);
    made.enqueue(task(1));
    made.enqueue(task(2, { spec: echo() }));
    expect(keys(made.place(0, noRandom, 9))).toEqual([2]);
    expect(made.explain(task(1), 1_000).refused).toContainEqual({
      node: "ada",
      code: "penalised",
      detail: "refused such a task a moment ago",
      remedy: "wait: it is asked again in 4 s",
    });
    made.setNode(node("bob"));
    const [decision] = made.place(0, noRandom, 9);
    expect(decision).toMatchObject({ node: "bob", placement: { refused: [["ada", "penalised", expect.any(String)]] } });
    made.enqueue(task(3));
    made.setNode(node("bob", { draining: true }));
    expect(made.place(4_999, noRandom, 9)).toEqual([]);
    expect(keys(made.place(5_000, noRandom, 9))).toEqual([3]);
  });
});

describe("what is kept of a decision", () => {
  it("is the best candidates with their terms, and why the others were passed over", () => {
    const made = scheduler([node("ada"), node("bob", { draining: true }), node("cleo", { slots: 1 })]);
    made.reserve(task(99), id("cleo"));
    made.enqueue(task(1));
    const [decision] = made.place(7, noRandom, 1);
    expect(decision?.placement).toEqual({
      node: "ada",
      strategy: "balanced",
      at: 7,
      scored: [["ada", 7.25, { eta: 1, room: 0.75, load: 0.5, scarce: 1, trust: 1 }]],
      refused: [
        ["cleo", "slots_busy", "has none of its 1 slot free"],
        ["bob", "draining", "is draining"],
      ],
    });
  });

  it("is limited, and counts the rest", () => {
    const nodes = Array.from({ length: 100 }, (_, i) => node(`n${i}`, { draining: i < 70, slots: 1 }));
    const made = scheduler(nodes);
    made.enqueue(task(1));
    made.enqueue(task(2));
    const [first, second] = made.place(0, noRandom, 2);
    expect(first?.placement.scored.length).toBe(CANDIDATES_KEPT);
    expect(first?.placement.refused.length).toBe(REFUSED_KEPT);
    expect(first?.placement.refusedMore).toBe(70 - REFUSED_KEPT);
    expect(second?.placement.refused[0]?.[0]).toBe(first?.node);
    expect(second?.placement.refusedMore).toBe(71 - REFUSED_KEPT);
    const scores = first?.placement.scored.map(([, score]) => score) ?? [];
    expect(scores).toEqual([...scores].sort((a, b) => b - a));
  });
});
