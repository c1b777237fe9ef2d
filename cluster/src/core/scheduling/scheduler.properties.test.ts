/** What must hold whatever happens in whatever order: the scheduler against a plain model of what is promised away. */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { TaskKind } from "@openclaw-cluster/contract/task-spec";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { SchedulableNode } from "../node.ts";
import { demand, type TaskRecord } from "../task.ts";
import { AGING_MS, LEVEL_MAX } from "./aging.ts";
import { refusal } from "./filter.ts";
import { anyNode, anyNodes, anySpec, command, echo, node, noRandom, scheduler, task } from "./fixtures.ts";
import { History, kindIndex, meanRunMs, NodeHistory } from "./history.ts";
import { Scheduler, type Decision } from "./scheduler.ts";
import { Shapes } from "./shape.ts";
import { mayLead, presumedRunMs, windowSlots } from "./window.ts";

type Step =
  | { kind: "node"; node: SchedulableNode }
  | { kind: "gone"; pick: number }
  | { kind: "queue"; spec: TaskRecord["spec"]; priority: number }
  | { kind: "dequeue"; pick: number }
  | { kind: "end"; pick: number; runMs: number; outcome: "succeeded" | "failed" | "refused" }
  | { kind: "place"; limit: number; passedMs: number };

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("node" as const), node: anyNode }),
  fc.record({ kind: fc.constant("gone" as const), pick: fc.nat() }),
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("queue" as const), spec: anySpec, priority: fc.integer({ min: 0, max: 9 }) }) },
  fc.record({ kind: fc.constant("dequeue" as const), pick: fc.nat() }),
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("end" as const),
      pick: fc.nat(),
      runMs: fc.constantFrom(0.1, 2, 3, 500),
      outcome: fc.constantFrom("succeeded", "succeeded", "failed", "refused"),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("place" as const),
      limit: fc.constantFrom(1, 3, 1_000),
      passedMs: fc.constantFrom(0, 1, 5_000, 40_000, AGING_MS),
    }),
  },
);

/** Plays steps on a scheduler and keeps its own books beside it. */
class Play {
  readonly scheduler = new Scheduler({ strategy: "balanced" });
  readonly nodes = new Map<NodeId, SchedulableNode>();
  readonly queued = new Map<number, TaskRecord>();
  readonly leased = new Map<number, { task: TaskRecord; node: NodeId }>();
  readonly decisions: Decision[] = [];
  now = 0;
  private nextKey = 1;
  private state = 1;
  private readonly shapes = new Shapes("balanced");
  private readonly history = new History();
  private readonly histories = new Map<NodeId, NodeHistory>();
  private readonly penalties: { program: string; node: NodeId; until: number }[] = [];

  readonly random = (): number => {
    this.state = (this.state * 16_807) % 2_147_483_647;
    return this.state / 2_147_483_647;
  };

  run(step: Step): void {
    switch (step.kind) {
      case "node":
        // A node with new facts may be asked again.
        if (this.nodes.get(step.node.id)?.facts !== step.node.facts) {
          for (const penalty of this.penalties) if (penalty.node === step.node.id) penalty.until = 0;
        }
        this.nodes.set(step.node.id, step.node);
        this.scheduler.setNode(step.node);
        break;
      case "gone": {
        const gone = [...this.nodes.keys()][step.pick % this.nodes.size];
        if (gone === undefined) break;
        this.nodes.delete(gone);
        this.scheduler.removeNode(gone);
        this.forget(gone);
        break;
      }
      case "queue":
        this.queue(task(this.nextKey++, { spec: step.spec, priority: step.priority, queuedAt: this.now }));
        break;
      case "dequeue": {
        const key = [...this.queued.keys()][step.pick % this.queued.size] ?? 0;
        expect(this.scheduler.dequeue(key)).toBe(this.queued.delete(key));
        expect(this.scheduler.has(key)).toBe(false);
        break;
      }
      case "end":
        this.end([...this.leased.values()][step.pick % this.leased.size], step.runMs, step.outcome);
        break;
      case "place":
        this.now += step.passedMs;
        for (const decision of this.scheduler.place(this.now, this.random, step.limit)) this.take(decision);
        if (step.limit === 1_000) this.checkNothingMissed();
    }
    expect(this.scheduler.size).toBe(this.queued.size);
    for (const name of this.nodes.keys()) expect(this.scheduler.used(name)).toEqual(this.used(name));
  }

  private queue(waiting: TaskRecord): void {
    this.queued.set(waiting.key, waiting);
    this.scheduler.enqueue(waiting);
  }

  private end(held: { task: TaskRecord; node: NodeId } | undefined, runMs: number, outcome: "succeeded" | "failed" | "refused"): void {
    if (held === undefined) return;
    const { kind } = held.task.spec;
    this.leased.delete(held.task.key);
    this.scheduler.release(held.task, held.node);
    this.forget(held.node);
    if (outcome === "refused") {
      this.queue(held.task);
      const until = this.now + 10_000;
      this.scheduler.penalise(held.task, held.node, until);
      this.penalties.push({ program: this.shapeKey(held.task), node: held.node, until });
      return;
    }
    this.scheduler.observe(held.node, kind, runMs, outcome === "succeeded");
    if (this.isKnown(held.node)) this.history.observe(this.historyOf(held.node), kindIndex(kind), runMs, outcome === "succeeded");
    if (outcome === "failed")
      this.queue({ ...held.task, failures: held.task.failures + 1, attempt: held.task.attempt + 1, queuedAt: this.now });
  }

  /** Never over capacity, never a node that the filter refused or that asked for a pause. */
  private take(decision: Decision): void {
    const placed = this.queued.get(decision.key) as TaskRecord;
    const chosen = this.nodes.get(decision.node) as SchedulableNode;
    const { slots, memoryMiB } = this.used(decision.node);
    const needs = demand(placed.spec);
    expect(refusal(chosen, this.shapes.describe(placed))).toBeUndefined();
    expect(slots + needs.slots).toBeLessThanOrEqual(
      mayLead(placed.spec) ? windowSlots(chosen.slots, this.meanOf(decision.node, placed.spec.kind)) : chosen.slots,
    );
    if (needs.memoryMiB > 0) expect(memoryMiB + needs.memoryMiB).toBeLessThanOrEqual(0.9 * (chosen.facts?.memoryMiB ?? 0));
    expect(
      this.penalties.some(
        ({ program, node: name, until }) => program === this.shapeKey(placed) && name === decision.node && until > this.now,
      ),
    ).toBe(false);
    expect(decision.placement).toMatchObject({ node: decision.node, at: this.now });
    expect(decision.placement.scored[0]?.[0]).toBe(decision.node);
    expect(decision.placement.scored.length + decision.placement.refused.length).toBe(this.nodes.size);
    this.queued.delete(decision.key);
    this.leased.set(decision.key, { task: placed, node: decision.node });
    this.decisions.push(decision);
  }

  /** No wake-up was lost: nothing waits that could be placed. */
  private checkNothingMissed(): void {
    for (const waiting of this.queued.values()) {
      const { candidates, refused } = this.scheduler.explain(waiting, this.now);
      expect(candidates).toEqual([]);
      expect(refused.length).toBe(this.nodes.size);
    }
  }

  private used(name: NodeId): { slots: number; memoryMiB: number } {
    const used = { slots: 0, memoryMiB: 0 };
    for (const held of this.leased.values()) {
      if (held.node !== name) continue;
      used.slots += demand(held.task.spec).slots;
      used.memoryMiB += demand(held.task.spec).memoryMiB;
    }
    return used;
  }

  private meanOf(name: NodeId, kind: TaskKind): number | undefined {
    return meanRunMs(this.historyOf(name), kindIndex(kind)) ?? presumedRunMs(kind);
  }

  /** A removed node is forgotten with its last reservation. */
  private forget(name: NodeId): void {
    if (!this.isKnown(name)) this.histories.delete(name);
  }

  private isKnown(name: NodeId): boolean {
    return this.nodes.has(name) || this.used(name).slots > 0;
  }

  private historyOf(name: NodeId): NodeHistory {
    let own = this.histories.get(name);
    if (own === undefined) this.histories.set(name, (own = new NodeHistory()));
    return own;
  }

  private shapeKey({ spec }: TaskRecord): string {
    return JSON.stringify([spec.kind, spec.require, spec.prefer?.labels, spec.strategy, mayLead(spec)]);
  }
}

function play(steps: readonly Step[]): Play {
  const made = new Play();
  for (const step of steps) made.run(step);
  return made;
}

describe("the scheduler, whatever happens", () => {
  it("is never over capacity, never against the filter, and misses nothing that could run", () => {
    fc.assert(
      fc.property(anyNodes, fc.array(anyStep, { maxLength: 120, size: "max" }), (nodes, steps) => {
        play([...nodes.map((one): Step => ({ kind: "node", node: one })), ...steps]);
      }),
      { numRuns: 300 },
    );
  });

  it("decides the same for the same steps and random numbers", () => {
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 60 }), (steps) => {
        expect(play(steps).decisions).toEqual(play(steps).decisions);
      }),
    );
  });

  it("decides the same in whatever order the nodes joined", () => {
    const shuffled = anyNodes.chain((nodes) => fc.tuple(fc.constant(nodes), fc.shuffledSubarray(nodes, { minLength: nodes.length })));
    fc.assert(
      fc.property(
        shuffled,
        fc.array(
          anyStep.filter(({ kind }) => kind !== "gone"),
          { maxLength: 40 },
        ),
        ([nodes, others], steps) => {
          const join = (all: readonly SchedulableNode[]): Step[] => all.map((one) => ({ kind: "node", node: one }));
          expect(play([...join(others), ...steps]).decisions).toEqual(play([...join(nodes), ...steps]).decisions);
          // Also where the tasks were there first.
          expect(play([...steps, ...join(others), LAST]).decisions).toEqual(play([...steps, ...join(nodes), LAST]).decisions);
        },
      ),
    );
  });
});

const LAST: Step = { kind: "place", limit: 1_000, passedMs: 1 };

describe("the order of work", () => {
  it("starves nothing under a steady stream of the most urgent work", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 9 }),
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 1, max: 4 }),
        (priority, perStep, users) => {
          const made = scheduler([node("ada", { slots: 1 })]);
          const stepMs = 10_000;
          made.enqueue(task(1, { priority, spec: command({ user: "patient" }) }));
          let running: TaskRecord | undefined;
          let key = 1;
          for (let now = 0; now <= (LEVEL_MAX - priority) * AGING_MS + (users + 2) * stepMs; now += stepMs) {
            const fresh = Array.from({ length: perStep }, () =>
              task(++key, { priority: 9, queuedAt: now, spec: command({ user: `u${key % users}` }) }),
            );
            for (const one of fresh) made.enqueue(one);
            if (running !== undefined) made.release(running, node("ada").id);
            const [decision] = made.place(now, noRandom, 1);
            if (decision?.key === 1) return;
            running = task(decision?.key ?? 0);
          }
          throw new Error("it was never placed");
        },
      ),
    );
  });

  it("is fair between two keys of one level, whatever each brings", () => {
    fc.assert(
      fc.property(fc.integer({ min: 20, max: 200 }), fc.integer({ min: 20, max: 200 }), fc.boolean(), (ofEve, ofMallory, interleaved) => {
        const made = scheduler([node("ada", { slots: 40 })]);
        const specs = [...Array.from({ length: ofEve }, () => "eve"), ...Array.from({ length: ofMallory }, () => "mallory")];
        if (interleaved) specs.sort((a, b) => a.localeCompare(b) * -1);
        for (const [index, user] of specs.entries()) made.enqueue(task(index + 1, { spec: command({ user }) }));
        const placed = made.place(0, noRandom, 40).map(({ key }) => specs[key - 1]);
        expect(placed.filter((user) => user === "eve").length).toBe(20);
        for (let n = 1; n <= placed.length; n++) {
          const eves = placed.slice(0, n).filter((user) => user === "eve").length;
          expect(Math.abs(2 * eves - n)).toBeLessThanOrEqual(1);
        }
      }),
    );
  });

  it("counts slots, not tasks, as the share of a key", () => {
    const made = scheduler([node("ada", { slots: 60 })]);
    for (let key = 1; key <= 100; key++) {
      made.enqueue(task(key, { spec: key % 2 === 0 ? command({ user: "eve", require: { slots: 3 } }) : command({ user: "mallory" }) }));
    }
    const placed = made.place(0, noRandom, 1_000);
    const large = placed.filter(({ key }) => key % 2 === 0).length;
    expect(large * 3).toBeGreaterThanOrEqual(30);
    expect(large * 3).toBeLessThanOrEqual(33);
  });

  it("is what head and position say, and follows a plain model", () => {
    const anyTask = fc.record({
      priority: fc.integer({ min: 0, max: 9 }),
      user: fc.constantFrom("a", "b", "c"),
      waited: fc.constantFrom(0, 200_000, 700_000),
      spec: fc.constantFrom(echo, command),
    });
    fc.assert(
      fc.property(fc.array(anyTask, { minLength: 1, maxLength: 40 }), fc.nat(), (tasks, seed) => {
        const now = 1_000_000;
        const records = tasks.map(({ priority, user, waited, spec }, index) =>
          task(index + 1, { priority, queuedAt: now - waited, spec: spec({ user }) }),
        );
        const made = scheduler([node("ada", { slots: 1_000 })]);
        made.place(now, noRandom, 0);
        // Some come back from a retry, so not in order of their keys.
        const arriving = [...records].sort((a, b) => ((a.key * (seed + 7)) % 5) - ((b.key * (seed + 7)) % 5));
        for (const one of arriving) made.enqueue(one);
        const head = made.head(1_000, now).map(({ key }) => key);
        expect(head.map((key) => made.position(key, now))).toEqual(head.map((_key, index) => index));
        const placed = made.place(now, noRandom, 1_000).map(({ key }) => key);
        expect(placed).toEqual(head);
        expect([...placed].sort((a, b) => a - b)).toEqual(records.map(({ key }) => key));
      }),
    );
  });
});
