/**
 * Measures the scheduler alone, in one process and without I/O: how long a decision takes in a large cluster with a long
 * queue, and what a task costs from being queued to being given back in a small one. `npm run bench` prints both.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { NodeFacts } from "@openclaw-cluster/contract/node";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { SchedulableNode } from "../node.ts";
import { create } from "../settle.ts";
import type { TaskRecord } from "../task.ts";
import { Scheduler } from "./scheduler.ts";

/** ms, of any origin; core reads no clock of its own. */
type Clock = () => number;

export interface PlacingFigures {
  readonly decisions: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly totalMs: number;
}

/**
 * `queued` tasks of many shapes on `nodes` different nodes: first one decision after the other until all is full, then
 * one for each task that ends, until nothing waits that can run. Every call of `place` counts, with a decision or not.
 */
export function benchPlacing({
  nodes,
  queued,
  seed,
  clock,
}: {
  nodes: number;
  queued: number;
  seed: number;
  clock: Clock;
}): PlacingFigures {
  const random = generator(seed);
  const scheduler = new Scheduler({ strategy: "balanced" });
  for (let i = 0; i < nodes; i++) scheduler.setNode(someNode(i, random));
  const tasks = new Map<number, TaskRecord>();
  for (let key = 1; key <= queued; key++) {
    const task = queuedTask(key, someSpec(random), pick([2, 4, 4, 4, 7, 9], random));
    tasks.set(key, task);
    scheduler.enqueue(task);
  }
  const took: number[] = [];
  const leased: [task: TaskRecord, node: NodeId][] = [];
  let decisions = 0;
  let now = 0;
  const placeOne = (): boolean => {
    now += 0.1;
    const start = clock();
    const [decision] = scheduler.place(now, random, 1);
    took.push(clock() - start);
    if (decision === undefined) return false;
    decisions++;
    leased.push([tasks.get(decision.key) as TaskRecord, decision.node]);
    return true;
  };
  for (;;) {
    while (placeOne());
    if (leased.length === 0) break;
    const [task, node] = takeAny(leased, random);
    scheduler.release(task, node);
    scheduler.observe(node, task.spec.kind, 100 + 900 * random(), random() > 0.02);
  }
  took.sort((a, b) => a - b);
  const us = (share: number): number => Math.round((took[Math.floor(took.length * share)] ?? 0) * 1_000);
  return { decisions, p50Us: us(0.5), p99Us: us(0.99), totalMs: Math.round(took.reduce((sum, ms) => sum + ms, 0)) };
}

/** The hot path: tasks without conditions, in batches, each queued, placed, ended and observed. Gives µs per task. */
export function benchHotPath({ nodes, tasks, batch, clock }: { nodes: number; tasks: number; batch: number; clock: Clock }): number {
  const random = generator(1);
  const scheduler = new Scheduler({ strategy: "balanced" });
  for (let i = 0; i < nodes; i++) scheduler.setNode({ ...someNode(i, random), slots: 64 });
  const spec: TaskSpec = { kind: "echo", input: { value: 1 } };
  const start = clock();
  let key = 0;
  while (key < tasks) {
    const first = key + 1;
    const records: TaskRecord[] = [];
    for (let i = 0; i < batch; i++) records.push(queuedTask(++key, spec, 4));
    for (const task of records) scheduler.enqueue(task);
    for (const decision of scheduler.place(key, random, batch)) {
      scheduler.release(records[decision.key - first] as TaskRecord, decision.node);
      scheduler.observe(decision.node, "echo", 0.05, true);
    }
  }
  if (scheduler.size > 0) throw new Error("the batch is larger than the windows of all nodes");
  return ((clock() - start) * 1_000) / tasks;
}

function someNode(index: number, random: () => number): SchedulableNode {
  const facts: NodeFacts = {
    hostname: `h${index}`,
    os: pick(["linux", "linux", "darwin", "win32"], random),
    arch: pick(["x64", "arm64"], random),
    cpus: 8,
    memoryMiB: pick([8_192, 16_384, 65_536], random),
    diskFreeMiB: 100_000,
    version: "0.1.0",
    nodeVersion: "26.1.0",
    kinds: ["echo", "command", "agent", "tool"],
    openclaw: {
      version: "2026.9.6",
      reachable: true,
      agents: ["main"],
      models: [{ id: pick(["small", "large"], random), provider: "local" }],
    },
    skills: SKILLS.filter(() => random() < 0.2).map((name) => ({ name, eligible: true })),
    policy: { kinds: ["echo", "command", "agent", "tool"] },
    labels: {},
    slots: pick([4, 8, 16], random),
  };
  const load = { cpu: random(), memoryFreeMiB: 1_000, diskFreeMiB: 1_000, running: 0, held: 0 };
  return {
    id: `node${index}` as NodeId,
    state: "ready",
    draining: false,
    facts,
    labels: { room: pick(ROOMS, random) },
    slots: facts.slots,
    load,
  };
}

const SKILLS = ["summarize", "weather", "notes", "video", "search", "mail", "calendar", "code"];
const ROOMS = ["attic", "cellar", "office"];

function someSpec(random: () => number): TaskSpec {
  const user = `user${Math.floor(random() * 20)}`;
  const agent = { kind: "agent" as const, user, input: { message: "hello" } };
  const command = { kind: "command" as const, user, input: { argv: [pick(["git", "ls", "make"], random)] } };
  const roll = random();
  if (roll < 0.3) return command;
  if (roll < 0.5) return { ...agent, input: { message: "hello", skill: pick(SKILLS, random) } };
  if (roll < 0.6) return { ...agent, require: { models: [pick(["large", "local/small"], random)] } };
  if (roll < 0.7) return { ...command, require: { os: ["linux"], memoryMiB: pick([1_024, 4_096], random) } };
  if (roll < 0.8) return { ...agent, prefer: { labels: [{ name: "room", value: pick(ROOMS, random), weight: 50 }], sticky: user } };
  if (roll < 0.9) return { ...command, require: { slots: pick([1, 2, 4], random) }, prefer: { spread: user } };
  if (roll < 0.99)
    return {
      ...command,
      require: { labels: { room: pick(ROOMS, random) } },
      strategy: pick(["best_fit", "least_tasks", "round_robin"], random),
    };
  return { ...agent, require: { skills: ["nobody-has-this"] } };
}

function queuedTask(key: number, spec: TaskSpec, priority: number): TaskRecord {
  return { ...create(key, spec, "bench", 0), priority };
}

function pick<T>(values: readonly T[], random: () => number): T {
  return values[Math.floor(random() * values.length)] as T;
}

function takeAny<T>(values: T[], random: () => number): T {
  const at = Math.floor(random() * values.length);
  const value = values[at] as T;
  const last = values.pop() as T;
  if (at < values.length) values[at] = last;
  return value;
}

/** mulberry32 (T. Ettinger): the same run for the same seed. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}
