/** Nodes, tasks and fast-check arbitraries for the tests in this folder. */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { ModelInput } from "@openclaw-cluster/contract/model-input";
import type { LentHere, NodeFacts } from "@openclaw-cluster/contract/node";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import fc from "fast-check";
import type { SchedulableNode } from "../node.ts";
import { create } from "../settle.ts";
import type { TaskRecord } from "../task.ts";
import { Scheduler } from "./scheduler.ts";

export const id = (name: string): NodeId => name as NodeId;

export function facts(more: Partial<NodeFacts> = {}): NodeFacts {
  return {
    hostname: "host",
    os: "linux",
    arch: "x64",
    cpus: 4,
    memoryMiB: 10_000,
    diskFreeMiB: 1_000,
    version: "0.1.0",
    nodeVersion: "26.1.0",
    kinds: ["echo", "command", "agent", "tool"],
    openclaw: { version: "2026.9.6", reachable: true, agents: ["main"], models: [] },
    skills: [],
    policy: { kinds: ["echo", "command", "agent", "tool"] },
    labels: {},
    slots: 4,
    ...more,
  };
}

export function node(
  name: string,
  { facts: own, ...more }: Partial<Omit<SchedulableNode, "facts">> & { facts?: Partial<NodeFacts> } = {},
): SchedulableNode {
  return { id: id(name), state: "ready", draining: false, facts: facts(own), labels: {}, slots: 4, load: undefined, ...more };
}

export function task(key: number, more: Partial<TaskRecord> & { spec?: TaskSpec } = {}): TaskRecord {
  return { ...create(key, command(), "me", 0, "me"), ...more };
}

type Common = Omit<Extract<TaskSpec, { kind: "command" }>, "kind" | "input">;
export const command = (more: Common = {}, program = "ls"): TaskSpec => ({ kind: "command", input: { argv: [program] }, ...more });
export const echo = (more: Common = {}): TaskSpec => ({ kind: "echo", input: {}, ...more });
export const agent = (input: Partial<Extract<TaskSpec, { kind: "agent" }>["input"]> = {}, more: Common = {}): TaskSpec => ({
  kind: "agent",
  input: { message: "hello", ...input },
  ...more,
});

export const model = (input: Partial<ModelInput> = {}, more: Common = {}): TaskSpec => ({
  kind: "model",
  input: { ...(input.embed === undefined && { prompt: "hello" }), ...input },
  ...more,
});

/** A model that chats. */
export const lends = (
  name: string,
  { can, ...more }: Partial<Omit<LentHere, "can">> & { can?: Partial<LentHere["can"]> } = {},
): LentHere => ({
  id: name,
  can: { chat: true, tools: true, vision: false, json: true, embeddings: false, ...can },
  ...more,
});

export function scheduler(nodes: readonly SchedulableNode[], strategy: TaskSpec["strategy"] & string = "balanced"): Scheduler {
  const made = new Scheduler({ strategy });
  for (const one of nodes) made.setNode(one);
  return made;
}

export const noRandom = (): number => {
  throw new Error("only the random strategy may draw");
};

/** The nodes that so many tasks of one spec go to, one after the other, all of them staying there. */
export function placeAll(made: Scheduler, specs: readonly TaskSpec[], random: () => number = noRandom): NodeId[] {
  return specs.map((spec, index) => {
    made.enqueue(task(index + 1, { spec }));
    const [decision] = made.place(0, random, 1);
    if (decision === undefined) throw new Error(`task ${index + 1} was not placed`);
    return decision.node;
  });
}

const NAMES = ["ada", "bob", "cleo", "dan"];

export const anyNode: fc.Arbitrary<SchedulableNode> = fc
  .record({
    name: fc.constantFrom(...NAMES),
    slots: fc.integer({ min: 1, max: 6 }),
    draining: fc.constantFrom(false, false, false, true),
    state: fc.constantFrom("ready", "ready", "ready", "suspect", "pending"),
    os: fc.constantFrom("linux", "darwin"),
    memoryMiB: fc.constantFrom(2_000, 8_000),
    skills: fc.subarray(["summarize", "notes"]),
    room: fc.constantFrom("attic", "cellar"),
    lent: fc.constantFrom(undefined, [], [lends("qwen3:8b")], [lends("qwen3:8b", { contextTokens: 1_024 })]),
    users: fc.constantFrom(undefined, undefined, { allow: ["ann"], deny: [] }, { allow: ["*"], deny: ["bob", "token:t2"] }),
  })
  .map(({ name, slots, state, draining, os, memoryMiB, skills, room, lent, users }) =>
    node(name, {
      slots,
      state: state as SchedulableNode["state"],
      draining,
      labels: { room },
      facts: {
        os: os as NodeFacts["os"],
        memoryMiB,
        skills: skills.map((skill) => ({ name: skill, eligible: true })),
        ...(lent !== undefined && { lends: [...lent] }),
        ...(users !== undefined && { policy: { ...facts().policy, users: { allow: [...users.allow], deny: [...users.deny] } } }),
      },
    }),
  );

export const anyNodes = fc.uniqueArray(anyNode, { selector: (one) => one.id, minLength: 1, maxLength: NAMES.length });

const anyCommon: fc.Arbitrary<Common> = fc.record(
  {
    require: fc.record(
      {
        os: fc.constant(["linux" as const]),
        memoryMiB: fc.constantFrom(500, 1_500, 5_000),
        slots: fc.constantFrom(1, 2, 4),
        skills: fc.constantFrom(["notes"], ["summarize", "notes"]),
        labels: fc.constantFrom({ room: "attic" }, { room: "cellar" }),
        nodes: fc.subarray(NAMES.map(id), { minLength: 1 }),
      },
      { requiredKeys: [] },
    ),
    prefer: fc.record(
      {
        labels: fc.constant([{ name: "room", value: "attic", weight: 50 }]),
        sticky: fc.constantFrom("s1", "s2"),
        spread: fc.constantFrom("p1", "p2"),
      },
      { requiredKeys: [] },
    ),
    strategy: fc.constantFrom("balanced", "round_robin", "least_tasks", "best_fit", "random", "affinity"),
    user: fc.constantFrom("eve", "mallory"),
    onLost: fc.constantFrom("retry", "ask"),
  },
  { requiredKeys: [] },
);

export const anySpec: fc.Arbitrary<TaskSpec> = fc
  .tuple(
    fc.constantFrom(
      echo,
      echo,
      command,
      (more: Common) => agent({}, more),
      (more: Common) => model({ model: "qwen3:8b" }, more),
    ),
    fc.oneof(fc.constant({}), anyCommon),
  )
  .map(([kind, common]) => kind(common));
