/** A node is taken out of the cluster: never one that may still be at work, and then wholly, for every restart to come. */
import type { ClusterEvent } from "@openclaw-cluster/contract/events";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { AttemptRef } from "@openclaw-cluster/contract/wire";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { openRamStore } from "../../cluster/src/store/ram.ts";
import type { Store } from "../../cluster/src/store/store.ts";
import { HandClock } from "../support/hand-clock.ts";
import { playNode, type HandNode } from "../support/hand-node.ts";
import { startRamCluster, type RamCluster } from "../support/ram-cluster.ts";

const SUSPECT_MS = 7_000;
const OTHER_KEY = `U${"B".repeat(55)}`;

let clock: HandClock;
let store: Store;
let cluster: RamCluster;
let nas: HandNode;
beforeEach(async () => {
  clock = new HandClock();
  store = openRamStore();
  cluster = await startRamCluster({ clock, store });
  nas = await playNode(cluster, "nas");
});
afterEach(async () => {
  await nas.close();
  await cluster.stop();
});

const remove = () => cluster.coordinator.removeNode(nas.id);
const ids = (): string[] => cluster.coordinator.nodes().map(({ id }) => id);
const inState = (state: string): Promise<void> => vi.waitFor(() => expect(cluster.coordinator.node(nas.id).state).toBe(state));

async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate);
}

async function leave(): Promise<void> {
  nas.beat(1, { goodbye: "offline" });
  await inState("offline");
}

async function lease(): Promise<AttemptRef> {
  await cluster.coordinator.submit({ owner: "me", specs: [{ kind: "echo", input: {}, require: { nodes: [nas.id] } }] });
  await vi.waitFor(() => expect(nas.offers).toHaveLength(1));
  const { task, attempt, epoch } = nas.offers[0]!;
  return { task, attempt, epoch };
}

test("it is refused while the node is ready, only suspect, or unknown, with what to do", async () => {
  nas.beat(1);
  await inState("ready");
  await expect(remove()).rejects.toMatchObject({ code: "state_conflict", detail: expect.stringContaining("nodes shutdown nas") as string });
  for (let passed = 0; passed < SUSPECT_MS; passed += 500) {
    clock.advance(500);
    await settle();
  }
  await inState("suspect");
  await expect(remove()).rejects.toMatchObject({ code: "state_conflict", detail: expect.stringContaining("try again") as string });
  expect(ids()).toEqual(["nas"]);
  await leave();
  await remove();
  await expect(remove()).rejects.toMatchObject({ code: "not_found" });
});

test("it is refused while the node still holds a task, though it has said goodbye", async () => {
  nas.beat(1);
  const ref = await lease();
  nas.beat(1, { goodbye: "offline", held: [ref] });
  await inState("offline");
  await expect(remove()).rejects.toMatchObject({ code: "state_conflict", detail: expect.stringContaining("holds a task") as string });
  nas.beat(1, { goodbye: "offline" });
  await vi.waitFor(() => remove());
  // History keeps the name.
  expect(await cluster.coordinator.attempts(ref.task)).toMatchObject([{ n: 1, node: "nas", outcome: "interrupted" }]);
});

test("listeners hear of it, the scheduler forgets it, and no restart brings it back", async () => {
  nas.beat(1);
  await inState("ready");
  await leave();
  const leaving = new AbortController();
  const events: ClusterEvent[] = [];
  const listening = (async () => {
    for await (const some of cluster.coordinator.events(undefined, leaving.signal)) events.push(...some);
  })();
  expect(await remove()).toMatchObject({ id: "nas", state: "offline", facts: { hostname: "test" } });
  await vi.waitFor(() => expect(events).toMatchObject([{ type: "node", node: "nas", state: "removed" }]));
  leaving.abort();
  await listening;
  expect(cluster.coordinator.plan([{ kind: "echo", input: {} }])[0]).toMatchObject({ candidates: [], refused: [] });
  await cluster.restartCoordinator();
  expect(ids()).toEqual([]);
});

test("its id is free: for a new key, or for the old one again", async () => {
  nas.beat(1);
  await inState("ready");
  await expect(cluster.coordinator.enrol({ id: nas.id, publicKey: OTHER_KEY })).rejects.toMatchObject({
    code: "state_conflict",
    detail: expect.stringContaining("nodes remove nas") as string,
  });
  await leave();
  await remove();
  await cluster.coordinator.enrol({ id: nas.id, publicKey: OTHER_KEY });
  expect(cluster.coordinator.node(nas.id)).toMatchObject({ state: "offline", succeeded: 0 });
  expect(cluster.coordinator.node(nas.id)).not.toHaveProperty("facts");
  await cluster.restartCoordinator();
  expect((await store.load()).nodes).toMatchObject([{ id: "nas", publicKey: OTHER_KEY }]);
  nas.beat(2);
  await inState("ready");
});

test("a heartbeat that comes in the same turn as its removal does not bring it back", async () => {
  nas.beat(1);
  await inState("ready");
  await leave();
  // While a commit is under way, what comes belongs to the next turn, all of it.
  const commit = store.commit.bind(store);
  const gate = Promise.withResolvers<void>();
  vi.spyOn(store, "commit").mockImplementationOnce((batch) => gate.promise.then(() => commit(batch)));
  const submitting = cluster.coordinator.submit({ owner: "me", specs: [{ kind: "echo", input: {} }] });
  await settle();
  const removing = remove();
  nas.beat(1);
  await settle();
  gate.resolve();
  await submitting;
  await removing;
  await settle();
  expect(ids()).toEqual([]);
  expect(cluster.coordinator.plan([{ kind: "echo", input: {} }])[0]).toMatchObject({ candidates: [], refused: [] });
});

test("a commit that fails removes nobody", async () => {
  nas.beat(1);
  await inState("ready");
  await leave();
  const commit = vi.spyOn(store, "commit").mockRejectedValueOnce(new ClusterError("storage_full", "No space."));
  await expect(remove()).rejects.toMatchObject({ code: "storage_full" });
  commit.mockRestore();
  await vi.waitFor(() => expect(ids()).toEqual(["nas"]));
  nas.beat(1);
  await inState("ready");
  expect(cluster.coordinator.plan([{ kind: "echo", input: {} }])[0]).toMatchObject({ node: "nas" });
});
