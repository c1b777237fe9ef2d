import { ClusterError } from "@openclaw-cluster/contract/errors";
import { NodeId } from "@openclaw-cluster/contract/ids";
import { beforeEach, expect, test } from "vitest";
import { COORDINATOR_KEY } from "../../../tests/support/fake-keys.ts";
import { HandClock } from "../../../tests/support/hand-clock.ts";
import type { NodeRow } from "../store/store.ts";
import { silentLog } from "../system/log.ts";
import { BusGate } from "./bus-gate.ts";
import { Registry } from "./registry.ts";

const NAS = { id: NodeId.parse("nas"), publicKey: "UNAS" };
const AIR = { id: NodeId.parse("air"), publicKey: "UAIR" };

let clock: HandClock;
let registry: Registry;
let silent: boolean;
let taken: string[][];
/** Where it is there, nats-server takes a change when it is called. */
let slow: (() => void)[] | undefined;
let keys: string[];
let kept: string[][];
let keysById: Record<string, string>;
let gate: BusGate;
beforeEach(() => {
  clock = new HandClock();
  registry = new Registry([], COORDINATOR_KEY);
  for (const { id, publicKey } of [NAS, AIR]) registry.enrol(id, publicKey, 0, {});
  silent = false;
  taken = [];
  kept = [];
  slow = undefined;
  gate = newGate();
});

function newGate(): BusGate {
  const bus = { keepFor: async (nodes: readonly string[]) => void kept.push([...nodes]) };
  const busServer = {
    version: "",
    async authorize(nodes: readonly { publicKey: string }[]) {
      if (silent) throw new ClusterError("bus_timeout", "no answer");
      if (slow !== undefined) await new Promise<void>((take) => slow?.push(take));
      taken.push(nodes.map(({ publicKey }) => publicKey));
    },
  };
  const keyring = {
    set(nodes: readonly { id: NodeId; publicKey: string }[]) {
      keys = nodes.map(({ publicKey }) => publicKey);
      keysById = Object.fromEntries(nodes.map(({ id, publicKey }) => [id, publicKey]));
    },
  };
  return new BusGate({ clock, log: silentLog, bus, busServer, keyring }, registry);
}

const pass = async (ms: number): Promise<void> => {
  clock.advance(ms);
  for (let turn = 0; turn < 5; turn++) await Promise.resolve();
};

test("a change that nats-server did not take is tried until it has, and counts for what is sealed at once (G1)", async () => {
  await gate.authorize();
  registry.update(NAS.id, { state: "revoked" });
  silent = true;
  await expect(gate.authorize()).rejects.toMatchObject({ code: "bus_timeout" });
  expect(keys).toEqual([AIR.publicKey]);
  await pass(5_000);
  silent = false;
  await pass(4_999);
  expect(taken).toHaveLength(1);
  await pass(1);
  expect(taken).toEqual([[NAS.publicKey, AIR.publicKey], [AIR.publicKey]]);
  await pass(60_000);
  expect(taken).toHaveLength(2);
});

test("exactly who is let in has a share of what the bus keeps, whether nats-server has heard of it yet or not", async () => {
  await gate.authorize();
  registry.update(NAS.id, { state: "revoked" });
  silent = true;
  await expect(gate.authorize()).rejects.toThrow();
  expect(kept).toEqual([[NAS.id, AIR.id], [AIR.id]]);
});

test("a gate that was stopped asks nobody any more", async () => {
  silent = true;
  await expect(gate.authorize()).rejects.toThrow();
  gate.stop();
  silent = false;
  await pass(60_000);
  expect(taken).toEqual([]);
});

test("the key that a node gives up counts until the server has taken the other one (G2)", async () => {
  await gate.authorize();
  registry.rekey(NAS.id, "UNEW");
  silent = true;
  await expect(gate.authorize()).rejects.toThrow();
  expect(keys).toEqual([NAS.publicKey, AIR.publicKey]);
  silent = false;
  await gate.ensureLetIn({ ...NAS, publicKey: "UNEW" });
  expect(keys).toEqual(["UNEW", AIR.publicKey]);
});

test("of a node that joined again with another key, what the one of before has sealed counts for nothing from the first moment (G2)", async () => {
  await gate.authorize();
  registry.remove(NAS.id);
  registry.enrol(NAS.id, "UNEW", 0, {});
  silent = true;
  await expect(gate.authorize()).rejects.toThrow();
  expect(keys.toSorted()).toEqual([AIR.publicKey, "UNEW"]);
});

test("a change that ends late brings nobody back whom a later one has shut out (G3)", async () => {
  await gate.authorize();
  slow = [];
  registry.enrol(NodeId.parse("mac"), "UMAC", 0, {});
  const approving = gate.authorize();
  registry.update(AIR.id, { state: "revoked" });
  const revoking = gate.authorize();
  expect(keys).toEqual([NAS.publicKey, "UMAC"]);
  slow[0]?.();
  await approving;
  expect(keys).toEqual([NAS.publicKey, "UMAC"]);
  slow[1]?.();
  await revoking;
  expect(keys).toEqual([NAS.publicKey, "UMAC"]);
});

test("a key that nats-server has taken counts, also where a later change is under way (G2, G3)", async () => {
  await gate.authorize();
  slow = [];
  registry.rekey(NAS.id, "UNEW");
  const rotating = gate.authorize();
  registry.update(AIR.id, { state: "revoked" });
  const revoking = gate.authorize();
  expect(keys).toEqual([NAS.publicKey]);
  slow[0]?.();
  await rotating;
  expect(keys).toEqual(["UNEW"]);
  slow[1]?.();
  await revoking;
  expect(keys).toEqual(["UNEW"]);
});

test("a key that two nodes have in the store is that of the first; the other one is kept away until it is gone", async () => {
  const row = (id: string, publicKey: string, registeredAt: number): NodeRow => ({
    ...{ id: NodeId.parse(id), publicKey, registeredAt, state: "approved", draining: false, labels: {}, succeeded: 0, failed: 0 },
  });
  registry = new Registry([row("b", "UONE", 2), row("a", "UONE", 3), row("c", "UONE", 1), row("d", COORDINATOR_KEY, 0)], COORDINATOR_KEY);
  gate = newGate();
  await gate.authorize();
  expect(keysById).toEqual({ c: "UONE" });
  expect([...registry.twins()]).toEqual([
    ["d", "the coordinator"],
    ["b", "c"],
    ["a", "c"],
  ]);
  registry.remove(NodeId.parse("c"));
  await gate.authorize();
  expect(keysById).toEqual({ b: "UONE" });
});

test("only who was let in some time ago would come in with its own signature", async () => {
  expect(gate.isSettled(NAS)).toBe(false);
  await gate.authorize();
  clock.advance(10_000);
  expect(gate.isSettled(NAS)).toBe(false);
  clock.advance(1);
  await gate.authorize();
  expect(gate.isSettled(NAS)).toBe(true);
  expect(gate.isSettled({ ...NAS, publicKey: "UOTHER" })).toBe(false);
});
