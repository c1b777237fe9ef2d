/** Promotions and demotions on the real coordinator in one process; what its machine does for it is written down here. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { NodeId } from "@openclaw-cluster/contract/ids";
import type { PromotionAnswer, PromotionOrder } from "@openclaw-cluster/contract/wire";
import { afterEach, beforeEach, expect, test } from "vitest";
import { HandClock } from "../../../tests/support/hand-clock.ts";
import { startRamCluster, type RamCluster } from "../../../tests/support/ram-cluster.ts";
import { promotionTo } from "../bus/subjects.ts";
import { createReader, HANDOVER, type Reader } from "../trust/sealed-box.ts";
import type { ControlRoom } from "./control-room.ts";

const [LEAD, TWO] = [NodeId.parse("lead"), NodeId.parse("two")];

class Room implements ControlRoom {
  readonly seats = new Set<string>();
  readonly said: string[] = [];
  refusal: ClusterError | undefined;

  has(node: NodeId): boolean {
    return this.seats.has(node);
  }
  async handover({ witness, token }: { witness: boolean; token: string }): Promise<string> {
    if (this.refusal !== undefined) throw this.refusal;
    return JSON.stringify({ witness, token });
  }
  async checkRelease(): Promise<void> {
    if (this.refusal !== undefined) throw this.refusal;
  }
  async release(node: NodeId): Promise<void> {
    this.said.push(`release ${node}`);
    this.seats.delete(node);
  }
  handOver(): void {
    if (this.refusal !== undefined) throw this.refusal;
    this.said.push("hand over");
  }
}

let room: Room;
let clock: HandClock;
let cluster: RamCluster;
/** What the node was ordered, and what it says to it; undefined: nothing. */
let orders: PromotionOrder[];
let answer: (order: PromotionOrder) => PromotionAnswer | object | undefined;
let reader: Reader;

beforeEach(async () => {
  [room, clock, orders, reader] = [new Room(), new HandClock(), [], createReader()];
  answer = (order) => (order.kind === "prepare" ? { key: reader.key } : { done: true });
  cluster = await startRamCluster({ control: room, clock });
});
afterEach(() => cluster.stop());

async function addTwo(): Promise<void> {
  await cluster.addWorker(TWO);
  cluster.net.connect(TWO).subscribe(promotionTo(TWO), ({ body, respond }) => {
    const order = body as PromotionOrder;
    orders.push(order);
    const said = answer(order);
    if (said !== undefined) respond?.(said);
  });
}

const kinds = (): string[] => orders.map(({ kind }) => kind);
const tokens = (): string[] => cluster.coordinator.tokens().map(({ name }) => name);
const acts = async (): Promise<string[]> =>
  (await cluster.coordinator.auditLog({ after: 0, limit: 100 })).entries
    .map(({ action, object }) => `${action} ${object}`)
    .filter((text) => text.startsWith("node.promoted") || text.startsWith("node.demoted"));
const promote = (options = {}) => cluster.coordinator.promoteNode(TWO, options);
const demote = (id = TWO) => cluster.coordinator.demoteNode(id);
const refused = (detail: string) => ({ code: "state_conflict", detail: expect.stringContaining(detail) as string });
/** Waits of the desk pass. */
async function late<T>(work: Promise<T>): Promise<PromiseSettledResult<T>> {
  let isOver = false;
  const settled = Promise.allSettled([work]).finally(() => (isOver = true));
  while (!isOver) {
    await new Promise(setImmediate);
    clock.advance(100);
  }
  return (await settled)[0];
}

test("K1: what it has to know leaves sealed for the node's own key, after the note of it, with a token of its own", async () => {
  await addTwo();
  let noted: Promise<string[]> | undefined;
  const usual = answer;
  answer = (order) => {
    if (order.kind === "promote") noted = acts();
    return usual(order);
  };
  await promote();
  expect(kinds()).toEqual(["prepare", "promote"]);
  const [, order] = orders;
  if (order?.kind !== "promote") throw new Error("it was not told");
  const told = JSON.parse(reader.open(order.sealed, HANDOVER)) as { witness: boolean; token: string };
  expect(told.witness).toBe(false);
  expect(JSON.stringify(order)).not.toContain(told.token);
  expect(await noted).toEqual(["node.promoted two"]);
  expect(tokens()).toEqual(["control node two"]);
});

test("a witness is told that it is one, and noted as one", async () => {
  await addTwo();
  await promote({ witness: true });
  expect(await acts()).toEqual(["node.promoted two (witness)"]);
});

test("one that is not ready, that is one already, or that leads, is not asked", async () => {
  await cluster.coordinator.enrol({ id: NodeId.parse("far"), publicKey: "UFAR" });
  await expect(cluster.coordinator.promoteNode(NodeId.parse("far"), {})).rejects.toMatchObject(refused("far is not ready"));
  await expect(cluster.coordinator.promoteNode(NodeId.parse("nobody"), {})).rejects.toMatchObject({ code: "not_found" });
  await addTwo();
  room.seats.add(TWO);
  await expect(promote()).rejects.toMatchObject(refused("is a control node already"));
  expect([orders, tokens(), await acts()]).toEqual([[], [], []]);
});

test("a coordinator whose store is its own file refuses, and says what comes first", async () => {
  const alone = await startRamCluster();
  try {
    await expect(alone.coordinator.promoteNode(TWO, {})).rejects.toMatchObject(refused("store migrate --to etcd"));
    await expect(alone.coordinator.demoteNode(TWO)).rejects.toMatchObject(refused("store migrate --to etcd"));
  } finally {
    await alone.stop();
  }
});

test("the node's refusal is told in its words, and no token is left", async () => {
  await addTwo();
  answer = () => ({ refused: "its owner says never" });
  await expect(promote()).rejects.toMatchObject(refused("two refuses: its owner says never"));
  answer = ({ kind }) => (kind === "prepare" ? { key: reader.key } : { refused: "its disk is full" });
  await expect(promote()).rejects.toMatchObject(refused("two refuses: its disk is full"));
  answer = () => ({ something: "newer" });
  await expect(promote()).rejects.toMatchObject(refused("it may run another version"));
  expect(tokens()).toEqual([]);
});

test("no room for another: the node hears no more of it, and its token is taken back", async () => {
  await addTwo();
  room.refusal = new ClusterError("state_conflict", "there are 7 control nodes");
  await expect(promote()).rejects.toMatchObject(refused("there are 7"));
  expect([kinds(), tokens(), await acts()]).toEqual([["prepare"], [], []]);
});

test("its last answer is lost: whether it has the keys is unknown, and its token opens nothing", async () => {
  await addTwo();
  answer = ({ kind }) => (kind === "prepare" ? { key: reader.key } : undefined);
  expect(await late(promote())).toMatchObject({ status: "rejected", reason: { code: "bus_timeout" } });
  expect([tokens(), await acts()]).toEqual([[], ["node.promoted two"]]);
});

test("one that stands by is told first, then taken out; its token goes with it", async () => {
  await addTwo();
  await promote();
  room.seats.add(TWO);
  orders.length = 0;
  await demote();
  expect(orders).toEqual([{ kind: "demote", urls: ["http://127.0.0.1:8888"] }]);
  expect([room.said, tokens()]).toEqual([["release two"], []]);
  expect(await acts()).toContain("node.demoted two");
  await expect(demote()).rejects.toMatchObject({ code: "not_found", detail: "two is no control node." });
});

test("K2: a dead one is taken out without having heard of it", async () => {
  await addTwo();
  room.seats.add(TWO);
  answer = () => undefined;
  expect(await late(demote())).toMatchObject({ status: "fulfilled" });
  expect(room.said).toEqual(["release two"]);
});

test("too few would be left: nobody is told anything", async () => {
  await addTwo();
  room.seats.add(TWO);
  room.refusal = new ClusterError("state_conflict", "only 1 of 2 would answer");
  await expect(demote()).rejects.toMatchObject(refused("only 1 of 2"));
  expect([orders, room.said, await acts()]).toEqual([[], [], []]);
});

test("the leader hands over, and asks to be asked again; where nobody else could lead it stays", async () => {
  await cluster.addWorker(LEAD);
  await expect(demote(LEAD)).rejects.toMatchObject({ code: "unavailable", retryAfterMs: expect.any(Number) as number });
  expect(room.said).toEqual(["hand over"]);
  room.refusal = new ClusterError("state_conflict", "no other control node is up");
  await expect(demote(LEAD)).rejects.toMatchObject(refused("no other control node"));
});
