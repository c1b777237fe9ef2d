/** Each strategy's own promise, through the scheduler as the coordinator calls it. */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { describe, expect, it } from "vitest";
import { command, id, node, noRandom, placeAll, scheduler, task } from "./fixtures.ts";

const three = [node("ada"), node("bob"), node("cleo")];
const times = (n: number, spec: TaskSpec = command()): TaskSpec[] => Array.from({ length: n }, () => spec);
const counts = (placed: readonly NodeId[]): Record<string, number> => {
  const by: Record<string, number> = {};
  for (const name of placed) by[name] = (by[name] ?? 0) + 1;
  return by;
};

describe("round_robin", () => {
  it("takes every node once before it takes one again", () => {
    const placed = placeAll(scheduler(three, "round_robin"), times(12));
    for (let at = 0; at < 12; at += 3) expect(new Set(placed.slice(at, at + 3)).size).toBe(3);
    expect(placed.slice(3, 6)).toEqual(placed.slice(0, 3));
  });
});

describe("least_tasks", () => {
  it("keeps every node equally full for its size", () => {
    const nodes = [node("ada", { slots: 2 }), node("bob", { slots: 4 }), node("cleo", { slots: 8 })];
    expect(counts(placeAll(scheduler(nodes, "least_tasks"), times(7)))).toEqual({ ada: 1, bob: 2, cleo: 4 });
  });
});

describe("best_fit", () => {
  it("fills one node before it begins another", () => {
    const placed = placeAll(scheduler(three, "best_fit"), times(12));
    for (let at = 0; at < 12; at += 4) expect(new Set(placed.slice(at, at + 4)).size).toBe(1);
  });

  it("looks at memory as well as slots", () => {
    const nodes = [node("ada", { facts: { memoryMiB: 10_000 } }), node("bob", { facts: { memoryMiB: 100_000 } })];
    expect(placeAll(scheduler(nodes, "best_fit"), times(2, command({ require: { memoryMiB: 4_000 } })))).toEqual(["ada", "ada"]);
  });
});

describe("random", () => {
  it("takes the node for which the highest number is drawn", () => {
    const made = scheduler(three, "random");
    const draws = [0.1, 0.9, 0.5, 0.9, 0.1, 0.2];
    expect(placeAll(made, times(2), () => draws.shift() as number)).toEqual(["bob", "ada"]);
  });

  it("takes all nodes alike", () => {
    let state = 7;
    const random = (): number => (state = (state * 16_807) % 2_147_483_647) / 2_147_483_647;
    const nodes = three.map((one) => ({ ...one, slots: 1_000 }));
    for (const count of Object.values(counts(placeAll(scheduler(nodes, "random"), times(600), random))))
      expect(Math.abs(count - 200)).toBeLessThan(50);
  });
});

describe("affinity", () => {
  const attic = (weight: number): TaskSpec => command({ prefer: { labels: [{ name: "room", value: "attic", weight }] } });
  const nodes = [node("ada"), node("bob", { labels: { room: "attic" } })];

  it("fills the node with the wished-for label, however busy, and goes elsewhere only when it is full", () => {
    expect(counts(placeAll(scheduler(nodes, "affinity"), times(5, attic(1))))).toEqual({ bob: 4, ada: 1 });
  });

  it("avoids it for a negative weight", () => {
    expect(counts(placeAll(scheduler(nodes, "affinity"), times(5, attic(-1))))).toEqual({ ada: 4, bob: 1 });
  });

  it("follows the sticky key", () => {
    const placed = placeAll(scheduler(three, "affinity"), times(4, command({ prefer: { sticky: "s" } })));
    expect(new Set(placed).size).toBe(1);
  });

  it("takes the idlest among equals", () => {
    expect(counts(placeAll(scheduler(three, "affinity"), times(6)))).toEqual({ ada: 2, bob: 2, cleo: 2 });
  });
});

describe("balanced", () => {
  it("spreads over equal nodes, and does not begin with the first by name", () => {
    const placed = placeAll(scheduler(three), times(12));
    expect(counts(placed)).toEqual({ ada: 4, bob: 4, cleo: 4 });
    const firsts = Array.from({ length: 60 }, (_, key) => {
      const made = scheduler(three);
      made.enqueue(task(key));
      return made.place(0, noRandom, 1)[0]?.node as NodeId;
    });
    for (const count of Object.values(counts(firsts))) expect(count).toBeGreaterThan(8);
  });

  it("eta: prefers the node where the kind is known to be quick", () => {
    const made = scheduler([node("ada"), node("bob")]);
    for (let i = 0; i < 20; i++) {
      made.observe(id("ada"), "command", 4_000, true);
      made.observe(id("bob"), "command", 1_000, true);
    }
    expect(counts(placeAll(made, times(4)))).toEqual({ bob: 4 });
  });

  it("eta: a node is the slower the more runs there already, so work of a large and a small node is spread by size", () => {
    const made = scheduler([node("ada", { slots: 8 }), node("bob", { slots: 2 })]);
    expect(counts(placeAll(made, times(5)))).toEqual({ ada: 4, bob: 1 });
  });

  it("load: prefers the idler of two, as the last heartbeat said", () => {
    const made = scheduler([node("ada"), node("bob")]);
    made.setLoad(id("ada"), { cpu: 0.1, memoryFreeMiB: 1, diskFreeMiB: 1, running: 0, held: 0 });
    made.setLoad(id("bob"), { cpu: 0.9, memoryFreeMiB: 1, diskFreeMiB: 1, running: 0, held: 0 });
    expect(placeAll(made, times(1))).toEqual(["ada"]);
  });

  it("affinity, sticky and spread are wishes that weigh", () => {
    const nodes = [node("ada"), node("bob", { labels: { room: "attic" } })];
    expect(placeAll(scheduler(nodes), [command({ prefer: { labels: [{ name: "room", value: "attic", weight: 100 }] } })])).toEqual(["bob"]);
    expect(new Set(placeAll(scheduler(three), times(3, command({ prefer: { sticky: "s" } })))).size).toBe(1);
    const uneven = [node("ada", { slots: 64 }), node("bob", { slots: 2 })];
    expect(counts(placeAll(scheduler(uneven), times(2, command({ prefer: { spread: "s" } }))))).toEqual({ ada: 1, bob: 1 });
  });

  it("retry: goes elsewhere after a failure, but back where there is nothing else", () => {
    const failed = task(9, {
      attempt: 1,
      failures: 1,
      placement: { node: id("ada"), strategy: "balanced", at: 0, scored: [], refused: [] },
    });
    const made = scheduler([node("ada", { slots: 64 }), node("bob")]);
    made.enqueue(failed);
    expect(made.place(0, noRandom, 1)[0]).toMatchObject({
      node: "bob",
      placement: {
        scored: [
          ["bob", expect.anything(), { retry: 0 }],
          ["ada", expect.anything(), { retry: 1 }],
        ],
      },
    });
    const alone = scheduler([node("ada")]);
    alone.enqueue(failed);
    expect(alone.place(0, noRandom, 1)[0]?.node).toBe("ada");
  });

  it("scarce: keeps a node with a rare skill free, unless it is what the task needs", () => {
    const rare = node("ada", { facts: { skills: [{ name: "video", eligible: true }] } });
    const plain = [node("bob"), node("cleo")];
    expect(counts(placeAll(scheduler([rare, ...plain]), times(2)))).toEqual({ bob: 1, cleo: 1 });
    expect(placeAll(scheduler([rare, ...plain]), [command({ require: { skills: ["video"] } })])).toEqual(["ada"]);
    // What most nodes have is not rare.
    const common = three.map((one) => ({ ...one, facts: rare.facts }));
    expect(Object.keys(counts(placeAll(scheduler(common), times(6)))).length).toBe(3);
  });

  it("trust: avoids the node where such tasks fail", () => {
    const made = scheduler([node("ada"), node("bob")]);
    for (let i = 0; i < 20; i++) {
      made.observe(id("ada"), "command", 1, false);
      made.observe(id("bob"), "command", 1_000, true);
    }
    expect(placeAll(made, times(1))).toEqual(["bob"]);
  });
});
