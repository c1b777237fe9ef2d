import { ClusterError } from "@openclaw-cluster/contract/errors";
import { NodeId } from "@openclaw-cluster/contract/ids";
import { beforeEach, expect, test } from "vitest";
import { HandClock } from "../../../tests/support/hand-clock.ts";
import { silentLog } from "../system/log.ts";
import { BusGate } from "./bus-gate.ts";
import { Registry } from "./registry.ts";

const NAS = { id: NodeId.parse("nas"), publicKey: "UNAS" };
const AIR = { id: NodeId.parse("air"), publicKey: "UAIR" };

let clock: HandClock;
let registry: Registry;
let silent: boolean;
let taken: string[][];
let keys: string[];
let kept: string[][];
let gate: BusGate;
beforeEach(() => {
  clock = new HandClock();
  registry = new Registry([]);
  for (const { id, publicKey } of [NAS, AIR]) registry.enrol(id, publicKey, 0, {});
  silent = false;
  taken = [];
  kept = [];
  const bus = { keepFor: async (nodes: readonly string[]) => void kept.push([...nodes]) };
  const busServer = {
    version: "",
    async authorize(nodes: readonly { publicKey: string }[]) {
      if (silent) throw new ClusterError("bus_timeout", "no answer");
      taken.push(nodes.map(({ publicKey }) => publicKey));
    },
  };
  const keyring = { set: (nodes: readonly { publicKey: string }[]) => void (keys = nodes.map(({ publicKey }) => publicKey)) };
  gate = new BusGate({ clock, log: silentLog, bus, busServer, keyring } as never, registry);
});

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
