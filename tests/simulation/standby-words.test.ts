/** A silent node that may go on by the word of a control node which stands by keeps its work; one that may not loses it as soon as ever. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { NodeId } from "@openclaw-cluster/contract/ids";
import type { AttemptRef } from "@openclaw-cluster/contract/wire";
import { PAUSE_MS } from "../../cluster/src/core/liveness.ts";
import type { StandbyWord } from "../../cluster/src/core/word-book.ts";
import { HandClock } from "../support/hand-clock.ts";
import { playNode, type HandNode } from "../support/hand-node.ts";
import { startRamCluster, type RamCluster } from "../support/ram-cluster.ts";

/** When a silent node's work is given away, with the time between two looks. */
const LOST_MS = 13_000 + 2_000;
const MARGIN_MS = 13_000;

let clock: HandClock;
let cluster: RamCluster;
let quiet: HandNode;
let lively: HandNode;
let nas: StandbyWord | undefined;
let canRead: boolean;
beforeEach(async () => {
  clock = new HandClock();
  nas = { node: NodeId.parse("nas"), boot: "one", n: 1, heard: 0, epoch: 1, saidMs: 0 };
  canRead = true;
  const read = async (): Promise<StandbyWord[]> => {
    if (!canRead) throw new Error("no answer");
    return nas === undefined ? [] : [nas];
  };
  cluster = await startRamCluster({ clock, words: { read } });
  quiet = await playNode(cluster, "quiet");
  lively = await playNode(cluster, "lively");
});
afterEach(async () => {
  await quiet.close();
  await lively.close();
  await cluster.stop();
});

async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate);
}

const writes = (): void => {
  if (nas !== undefined) nas = { ...nas, n: nas.n + 1, heard: nas.n };
};

async function pass(ms: number, each: () => void = () => undefined): Promise<void> {
  for (let passed = 0; passed < ms; passed += 1_000) {
    clock.advance(1_000);
    lively.beat(1);
    each();
    await settle();
  }
}

async function leased(): Promise<AttemptRef> {
  quiet.beat(1);
  await settle();
  await cluster.coordinator.submit({ owner: "me", specs: [{ kind: "echo", input: {}, require: { nodes: [quiet.id] } }] });
  await vi.waitFor(() => expect(quiet.offers).toHaveLength(1));
  const { task, attempt, epoch } = quiet.offers[0]!;
  return { task, attempt, epoch };
}

const isLost = async ({ task }: AttemptRef): Promise<boolean> => (await cluster.coordinator.task(task)).reason === "node_lost";

test("while those that stand by are heard it is given away as soon as ever", async () => {
  const ref = await leased();
  await pass(LOST_MS, writes);
  expect(await isLost(ref)).toBe(true);
});

test("one of them is gone as well: it stays for as long as a word of that one lasts, and is given away then", async () => {
  const ref = await leased();
  await pass(5_000, writes);
  await pass(PAUSE_MS + MARGIN_MS - 2_000);
  expect(await isLost(ref)).toBe(false);
  await pass(4_000);
  expect(await isLost(ref)).toBe(true);
});

test("one that is gone for long, or has left, keeps nothing back", async () => {
  const ref = await leased();
  await pass(PAUSE_MS + MARGIN_MS, () => quiet.beat(1, { held: [ref] }));
  await pass(LOST_MS);
  expect(await isLost(ref)).toBe(true);
  nas = undefined;
});

test("it is back, and says that it has spoken: so long it stays", async () => {
  const ref = await leased();
  await pass(5_000, writes);
  await pass(20_000);
  nas = { ...(nas as StandbyWord), saidMs: 60_000 };
  writes();
  await pass(1_000);
  await pass(10_000, () => {
    nas = { ...(nas as StandbyWord), saidMs: 0 };
    writes();
  });
  expect(await isLost(ref)).toBe(false);
  await pass(50_000 + MARGIN_MS, writes);
  expect(await isLost(ref)).toBe(true);
});

test("while their words cannot be read nothing is given away", async () => {
  const ref = await leased();
  canRead = false;
  await pass(LOST_MS, writes);
  expect(await isLost(ref)).toBe(false);
  canRead = true;
  await pass(4_000, writes);
  expect(await isLost(ref)).toBe(true);
});
