import { Explanation } from "@openclaw-cluster/contract/placement";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { transition } from "../task.ts";
import { AHEAD_MAX } from "./order.ts";
import { agent, anyNodes, anySpec, command, echo, id, node, noRandom, placeAll, scheduler, task } from "./fixtures.ts";

const plan = (spec = command()) => task(0, { spec });

describe("why a task waits", () => {
  it.each([
    ["no nodes at all", scheduler([]), command(), "Waits: the cluster has no nodes yet. Start one: openclaw-cluster start."],
    [
      "nothing that could ever run it",
      scheduler([node("studio"), node("nas2", { draining: true })]),
      agent({ skill: "video" }),
      "Waits: no node can run it. nas2 is draining (resume it: openclaw-cluster nodes resume nas2); studio has no skill video (install the skill video on studio).",
    ],
    [
      "nodes that it leaves out itself, last",
      scheduler([node("ada"), node("bob", { state: "offline" })]),
      command({ require: { nodes: [id("bob")] } }),
      "Waits: no node can run it. bob is offline (start it: openclaw-cluster start, on bob); ada is not among the nodes that the task names (bob) (add ada to require.nodes).",
    ],
  ])("%s", (_name, made, spec, sentence) => {
    const waiting = task(1, { spec });
    made.enqueue(waiting);
    expect(made.place(0, noRandom, 1)).toEqual([]);
    expect(made.explain(waiting, 0).sentence).toBe(sentence);
  });

  it("full nodes, and how many are ahead", () => {
    const made = scheduler([node("ada", { slots: 1 }), node("bob", { slots: 1 }), node("cleo", { draining: true })]);
    placeAll(made, [command(), command()]);
    for (let key = 3; key <= 5; key++) made.enqueue(task(key));
    made.place(0, noRandom, 9);
    expect(made.explain(task(5), 0)).toMatchObject({
      sentence: "Waits for a free slot: 2 nodes fit, both are full; 2 tasks are ahead.",
      ahead: 2,
      candidates: [],
    });
    expect(made.explain(task(3), 0).sentence).toBe("Waits for a free slot: 2 nodes fit, both are full.");
  });

  it("counts those ahead no further than a limit", () => {
    const made = scheduler([node("ada", { slots: 1 })]);
    for (let key = 1; key <= AHEAD_MAX + 9; key++) made.enqueue(task(key));
    made.place(0, noRandom, 1);
    expect(made.position(AHEAD_MAX, 0)).toBe(AHEAD_MAX - 2);
    const { ahead, sentence } = made.explain(task(AHEAD_MAX + 9), 0);
    expect(ahead).toBe(AHEAD_MAX);
    expect(sentence).toMatch(/; at least 10000 tasks are ahead\.$/);
  });

  it("memory that is set aside", () => {
    const made = scheduler([node("ada", { slots: 64 })]);
    const large = command({ require: { memoryMiB: 8_000 } });
    placeAll(made, [large]);
    made.enqueue(task(2, { spec: large }));
    expect(made.explain(task(2, { spec: large }), 0)).toMatchObject({
      sentence: "Waits for memory to be given back: 1 node fits, none has enough left.",
      refused: [{ node: "ada", code: "memory_busy", remedy: "wait, or ask for less in require.memoryMiB" }],
    });
  });

  it("a time that has not come", () => {
    const due = task(1, { state: "scheduled", reason: "delayed", dueAt: 61_000 });
    expect(scheduler([node("ada")]).explain(due, 1_000).sentence).toBe("Waits until it is due in 60 s. Would run on ada: the only node.");
  });

  it("names no more than five nodes in the sentence, and all in the table", () => {
    const made = scheduler(Array.from({ length: 9 }, (_, i) => node(`n${i}`, { draining: true })));
    const { sentence, refused } = made.explain(plan(), 0);
    expect(sentence).toMatch(/^Would wait: no node can run it\. n0 .*; and 4 more\.$/);
    expect(refused.length).toBe(9);
  });
});

describe("where a plan would go", () => {
  it("says which term decides", () => {
    const made = scheduler([node("ada"), node("bob", { labels: { room: "attic" } })]);
    const spec = command({ prefer: { labels: [{ name: "room", value: "attic", weight: 10 }] } });
    expect(made.explain(plan(spec), 0)).toMatchObject({
      node: "bob",
      sentence: "Would run on bob: best of 2, it has the labels it prefers.",
    });
    expect(made.size).toBe(0);
    expect(made.used(id("bob")).slots).toBe(0);
  });

  it("says when nothing decides, and when there is no choice", () => {
    expect(scheduler([node("ada"), node("bob")]).explain(plan(echo()), 0).sentence).toMatch(
      /^Would run on (ada|bob): best of 2 that are equal, by lot\.$/,
    );
    expect(scheduler([node("ada"), node("bob", { draining: true })]).explain(plan(), 0).sentence).toBe(
      "Would run on ada: the only one that fits and has room.",
    );
  });

  it("says which of the nodes were drawn from", () => {
    const made = scheduler([node("ada", { slots: 2 }), node("bob", { slots: 2 }), node("cleo", { slots: 2 })]);
    made.reserve(task(1), id("ada"));
    const sentenceFor = (spec: ReturnType<typeof command>): string => made.explain(plan(spec), 0).sentence;
    expect(sentenceFor(command({ strategy: "least_tasks" }))).toMatch(/best of 3, by lot among the 2 that come first\.$/);
    expect(sentenceFor(command({ strategy: "best_fit" }))).toBe("Would run on ada: best of 3, it is the fullest that still has room.");
    expect(sentenceFor(command({ strategy: "round_robin" }))).toMatch(/best of 3 that are equal, by lot\.$/);
  });

  it("does not pretend to know what will be drawn", () => {
    const explanation = scheduler([node("ada"), node("bob")], "random").explain(plan(), 0);
    expect(explanation.sentence).toBe("Would run on any of 2 nodes: best of 2, drawn at random.");
    expect(explanation.node).toBeUndefined();
  });

  it("goes where placing then puts it, and lists every node", () => {
    fc.assert(
      fc.property(
        anyNodes,
        anySpec.filter(({ strategy }) => strategy !== "random"),
        (nodes, spec) => {
          const made = scheduler(nodes);
          const waiting = task(1, { spec });
          const explanation = made.explain(waiting, 0);
          expect(Explanation.parse(explanation)).toEqual(explanation);
          expect([...explanation.candidates, ...explanation.refused].map((one) => one.node).sort()).toEqual(
            nodes.map((one) => one.id).sort(),
          );
          made.enqueue(waiting);
          expect(made.place(0, noRandom, 1)[0]?.node).toBe(explanation.node);
        },
      ),
    );
  });
});

describe("why a task runs where it runs", () => {
  const made = scheduler([node("ada"), node("bob", { draining: true })]);
  made.enqueue(task(1));
  const [decision] = made.place(5, noRandom, 1);
  const placement = decision?.placement;
  if (placement === undefined) throw new Error("it was not placed");
  const leased = transition(task(1), "leased", "placed", {
    attempt: 1,
    placement,
    lease: { node: placement.node, epoch: 1, offeredAt: 5 },
  });

  it("is told from what was kept, with what would help now", () => {
    expect(made.explainPlaced(leased)).toEqual({
      sentence: "Runs on ada: the only one that fits and has room.",
      strategy: "balanced",
      node: "ada",
      candidates: [{ node: "ada", score: 7.25, terms: { eta: 1, room: 0.75, load: 0.5, scarce: 1, trust: 1 } }],
      refused: [{ node: "bob", code: "draining", detail: "is draining", remedy: "resume it: openclaw-cluster nodes resume bob" }],
      at: 5,
    });
  });

  it("says so when it is over, when it was elsewhere, and when a reason is gone", () => {
    expect(made.explainPlaced(transition(leased, "succeeded", "done"))?.sentence).toMatch(/^Ran on ada/);
    expect(made.explainPlaced(transition(leased, "scheduled", "attempt_failed"))?.sentence).toMatch(/^Last ran on ada/);
    expect(made.explainPlaced(task(2))).toBeUndefined();
    const error = { code: "node_lost", message: "The node ada was lost." } as const;
    expect(made.explainPlaced(transition({ ...leased, acted: true }, "waiting", "asked", { error }))?.sentence).toBe(
      "Waits for a person, because the agent had used a tool by then. The node ada was lost. " +
        "Answer: openclaw-cluster answer t1 retry (what it did may be done twice) or openclaw-cluster answer t1 fail (gives it up). Last placed on ada.",
    );
    const later = scheduler([node("ada"), node("bob")]);
    expect(later.explainPlaced(leased)?.refused[0]?.remedy).toBe("nothing to do: it was so when the task was placed");
    const crowded = { ...leased, placement: { ...placement, refusedMore: 3 } };
    expect(made.explainPlaced(crowded)?.sentence).toMatch(/ 3 more nodes could not take it\.$/);
  });
});
