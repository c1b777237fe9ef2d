/** A node that falls silent is lost after 13 s, whatever else goes on; one that could not be heard is not. */
import type { Task } from "@openclaw-cluster/contract/task";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import type { AttemptRef } from "@openclaw-cluster/contract/wire";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { HandClock } from "../support/hand-clock.ts";
import { playNode, type HandNode } from "../support/hand-node.ts";
import { startRamCluster, type RamCluster } from "../support/ram-cluster.ts";

/** When the coordinator calls a silent node lost, with the time between two looks. */
const LOST_MS = 13_000 + 2_000;
const MASS_HOLD_MS = 60_000;

let clock: HandClock;
let cluster: RamCluster;
let quiet: HandNode;
let lively: HandNode;
beforeEach(async () => {
  clock = new HandClock();
  cluster = await startRamCluster({ clock });
  quiet = await playNode(cluster, "quiet");
  lively = await playNode(cluster, "lively");
});
afterEach(async () => {
  await quiet.close();
  await lively.close();
  await cluster.stop();
});

const states = (): string[] => [quiet, lively].map(({ id }) => cluster.coordinator.node(id).state);

async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate);
}

/** Time goes by in small steps, with as many turns of the event loop as it takes. */
async function pass(ms: number, each: () => void): Promise<void> {
  for (let passed = 0; passed < ms; passed += 250) {
    clock.advance(250);
    each();
    await settle();
  }
}

async function leaseTo(node: HandNode): Promise<AttemptRef> {
  node.beat(1);
  await settle();
  const spec: TaskSpec = { kind: "echo", input: {}, require: { nodes: [node.id] } };
  await cluster.coordinator.submit({ owner: "me", specs: [spec] });
  await vi.waitFor(() => expect(node.offers).toHaveLength(1));
  const { task, attempt, epoch } = node.offers[0]!;
  return { task, attempt, epoch };
}

test("others speak four times a second: the silent one is noticed all the same", async () => {
  const ref = await leaseTo(quiet);
  await pass(LOST_MS, () => lively.beat(1));
  expect(states()).toEqual(["lost", "ready"]);
  expect(await cluster.coordinator.task(ref.task)).toMatchObject({ state: "queued", reason: "node_lost" });
});

test("the coordinator itself stood still for an hour: nobody lost anything, and silence counts from then", async () => {
  const ref = await leaseTo(quiet);
  lively.beat(1);
  await settle();
  clock.advance(3_600_000);
  await settle();
  expect(states()).toEqual(["ready", "ready"]);
  quiet.beat(1, { held: [ref] });
  await settle();
  expect(await cluster.coordinator.task(ref.task)).toMatchObject({ state: "leased", attempt: 1 });
  await pass(LOST_MS, () => lively.beat(1));
  expect(states()).toEqual(["lost", "ready"]);
});

test("a node that nobody has heard of for a week leaves the view, also over a restart, and can be asked for", async () => {
  const ids = (all: boolean): string[] => cluster.coordinator.nodes({ all }).map(({ id }) => id);
  quiet.beat(1);
  await pass(LOST_MS, () => lively.beat(1));
  expect(ids(false)).toEqual(["lively", "quiet"]);
  clock.jump(8 * 86_400_000);
  await cluster.restartCoordinator();
  await pass(1_000, () => lively.beat(1));
  expect(ids(false)).toEqual(["lively"]);
  expect(ids(true)).toEqual(["lively", "quiet"]);
  quiet.beat(2);
  await settle();
  expect(ids(false)).toEqual(["lively", "quiet"]);
});

test("while its node is silent, nobody knows how an attempt stands", async () => {
  const ref = await leaseTo(quiet);
  quiet.beat(1, { held: [ref] });
  await settle();
  expect(await cluster.coordinator.attempts(ref.task)).toMatchObject([{ n: 1, state: "offered" }]);
  await pass(8_000, () => lively.beat(1));
  expect(await cluster.coordinator.attempts(ref.task)).toMatchObject([{ n: 1, state: "unknown" }]);
});

test("a laptop is given a minute", async () => {
  await cluster.coordinator.patchNode(quiet.id, { labels: { laptop: "yes" } });
  const ref = await leaseTo(quiet);
  await pass(LOST_MS, () => lively.beat(1));
  expect(states()).toEqual(["suspect", "ready"]);
  expect(await cluster.coordinator.task(ref.task)).toMatchObject({ state: "leased", attempt: 1 });
  await pass(60_000 - LOST_MS + 2_000, () => lively.beat(1));
  expect(states()).toEqual(["lost", "ready"]);
  expect(await cluster.coordinator.task(ref.task)).toMatchObject({ state: "queued", reason: "node_lost" });
});

test("a laptop that is called one no more while it is silent keeps the lease that it was told of", async () => {
  await cluster.coordinator.patchNode(quiet.id, { labels: { laptop: "yes" } });
  const ref = await leaseTo(quiet);
  await cluster.coordinator.patchNode(quiet.id, { labels: { laptop: null } });
  await pass(LOST_MS, () => lively.beat(1));
  expect(await cluster.coordinator.task(ref.task)).toMatchObject({ state: "leased", attempt: 1 });
  await pass(60_000, () => lively.beat(1));
  expect(await cluster.coordinator.task(ref.task)).toMatchObject({ state: "queued", reason: "node_lost" });
});

test("most nodes fall silent at once: what they hold is kept for a while, and health says why (F24)", async () => {
  const third = await playNode(cluster, "third");
  third.beat(1);
  const ref = await leaseTo(quiet);
  await pass(LOST_MS, () => lively.beat(1));
  expect(states()).toEqual(["lost", "ready"]);
  expect(await cluster.coordinator.task(ref.task)).toMatchObject({ state: "leased", attempt: 1 });
  expect(cluster.coordinator.health().problems).toContainEqual(expect.stringContaining("network"));
  await pass(MASS_HOLD_MS, () => lively.beat(1));
  expect(await cluster.coordinator.task(ref.task)).toMatchObject({ state: "queued", reason: "node_lost" });
  await third.close();
});

test("as soon as one of them is back, it is their own silence again", async () => {
  const third = await playNode(cluster, "third");
  third.beat(1);
  const ref = await leaseTo(quiet);
  await pass(LOST_MS, () => lively.beat(1));
  third.beat(1);
  await pass(2_000, () => lively.beat(1));
  expect(await cluster.coordinator.task(ref.task)).toMatchObject({ state: "queued", reason: "node_lost" });
  await third.close();
});

describe("a coordinator that stops in good order gives its nodes two minutes, and its successor keeps that word", () => {
  let ref: AttemptRef;
  const held = (): Promise<Task> => cluster.coordinator.task(ref.task);
  const kept = { state: "leased", attempt: 1 };
  const lost = { state: "queued", reason: "node_lost" };
  beforeEach(async () => {
    ref = await leaseTo(quiet);
    await cluster.restartCoordinator();
  });

  test("to a node that it does not hear", async () => {
    await pass(LOST_MS, () => lively.beat(1));
    expect(await held()).toMatchObject(kept);
    await pass(120_000, () => lively.beat(1));
    expect(await held()).toMatchObject(lost);
  });

  test("to a node that it hears, and that may have had no answer", async () => {
    quiet.beat(1, { held: [ref] });
    await settle();
    quiet.beat(1, { held: [ref], paused: true });
    await pass(LOST_MS, () => lively.beat(1));
    expect(await held()).toMatchObject(kept);
    await pass(120_000, () => lively.beat(1));
    expect(await held()).toMatchObject(lost);
  });

  test("until the node says that it had one", async () => {
    quiet.beat(1, { held: [ref], paused: true });
    await settle();
    quiet.beat(1, { held: [ref] });
    await pass(LOST_MS, () => lively.beat(1));
    expect(await held()).toMatchObject(lost);
  });

  test("also where it stands still itself meanwhile", async () => {
    clock.advance(20_000);
    await settle();
    await pass(LOST_MS, () => lively.beat(1));
    expect(await held()).toMatchObject(kept);
  });
});
