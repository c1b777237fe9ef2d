import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { refusal } from "./filter.ts";
import { agent, anyNode, anySpec, command, echo, model } from "./fixtures.ts";
import { Shapes, SHAPES_KEPT, type Shaped } from "./shape.ts";

const by = (spec: TaskSpec, token = "t1", owner = ""): Shaped => ({ spec, owner, token });
const tool = (more: { session?: string } = {}): TaskSpec => ({ kind: "tool", input: { tool: "x", ...more } });
const anyShaped = fc
  .tuple(anySpec, fc.constantFrom("t1", "t2"), fc.constantFrom("ann", "bob", undefined))
  .map(([spec, owner, name]) => by(spec, owner, name));

describe("shapes", () => {
  it.each<[boolean, string, TaskSpec, TaskSpec]>([
    [true, "inputs that no filter asks for", echo(), { kind: "echo", input: { value: 7 } }],
    [
      true,
      "keys that differ from task to task",
      command({ user: "a", prefer: { sticky: "x" } }),
      command({ user: "b", prefer: { spread: "y" }, fairnessKey: "k" }),
    ],
    [true, "a strategy named and the same by default", echo(), echo({ strategy: "balanced" })],
    [true, "sessions of a user's own", agent({ session: "daily" }), agent({ session: "weekly" })],
    [false, "sessions of the machine's own", agent({ session: "daily" }), agent({ session: "main" })],
    [false, "a tool's session, which asks for the agent", tool(), tool({ session: "daily" })],
    [false, "tools in sessions of the machine's own", tool({ session: "main" }), tool({ session: "agent:main:x" })],
    [true, "inputs of one batch", model({ prompt: "one" }), model({ prompt: "another", temperature: 1 })],
    [false, "models", model({ model: "a" }), model({ model: "b" })],
    [false, "answers held to a schema", model(), model({ schema: {} })],
    [false, "texts to embed", model({ model: "a" }), model({ model: "a", embed: "x" })],
    [false, "lengths of prompts", model(), model({ prompt: "a".repeat(20_000) })],
    [false, "kinds", echo(), command()],
    [false, "programs", command({}, "ls"), command({}, "git")],
    [false, "agents", agent(), agent({ agent: "coder" })],
    [false, "an agent and a model of one name", agent({ agent: "x" }), agent({ model: "x" })],
    [false, "skills of the input", agent({ skill: "a" }), agent({ skill: "b" })],
    [false, "conditions", command({ require: { os: ["linux"] } }), command({ require: { os: ["darwin"] } })],
    [false, "wished-for labels", command(), command({ prefer: { labels: [{ name: "a", value: "b", weight: 1 }] } })],
    [false, "strategies", echo(), echo({ strategy: "random" })],
    [false, "what may be given ahead", echo(), echo({ onLost: "ask" })],
  ])("are the same (%s) for %s", (same, _name, a, b) => {
    const shapes = new Shapes("balanced");
    expect(shapes.of(by(a)) === shapes.of(by(b))).toBe(same);
  });

  it("S1: of one shape, one answer of the filter", () => {
    fc.assert(
      fc.property(fc.array(anyShaped, { minLength: 2, maxLength: 30 }), anyNode, (tasks, node) => {
        const shapes = new Shapes("balanced");
        for (const task of tasks) expect(refusal(node, shapes.of(task))).toEqual(refusal(node, shapes.describe(task)));
      }),
    );
  });

  it("are each submitter's own, and their name's: a node's policy may ask for either", () => {
    const shapes = new Shapes("balanced");
    const three = [by(echo(), "t1", "ann"), by(echo(), "t2", "ann"), by(echo(), "t1")].map((task) => shapes.of(task));
    expect(new Set(three).size).toBe(3);
    expect(three.map(({ submitter }) => submitter)).toEqual([{ token: "t1", name: "ann" }, { token: "t2", name: "ann" }, { token: "t1" }]);
    expect(shapes.of(by(echo(), "t1", "ann"))).toBe(three[0]);
    shapes.forget(() => true);
    expect([shapes.size, shapes.find(by(echo(), "t1"))]).toEqual([0, undefined]);
  });

  it("are forgotten when nothing waits for them, and their numbers given out again", () => {
    const shapes = new Shapes("balanced");
    const spec = (i: number): TaskSpec => command({ require: { memoryMiB: i + 1 } });
    const kept = shapes.of(by(echo()));
    for (let i = 1; i < SHAPES_KEPT; i++) shapes.of(by(spec(i)));
    expect(shapes.full).toBe(true);
    const gone = shapes.forget((shape) => shape !== kept);
    expect(gone.length).toBe(SHAPES_KEPT - 1);
    expect(shapes.full).toBe(false);
    expect(shapes.of(by(echo()))).toBe(kept);
    const indexes = new Set([kept.index]);
    for (let i = 0; i < SHAPES_KEPT; i++) indexes.add(shapes.of(by(spec(i))).index);
    expect(indexes.size).toBe(SHAPES_KEPT + 1);
    expect(Math.max(...indexes)).toBe(SHAPES_KEPT);
  });
});
