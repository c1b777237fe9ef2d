/** What a node may ask with its own key, on the real coordinator in one process. */
import { ClusterError, toProblem } from "@openclaw-cluster/contract/errors";
import { NodeId } from "@openclaw-cluster/contract/ids";
import { INVITE } from "@openclaw-cluster/contract/join";
import { MEMBERSHIP, type Leaving, type LeaveWish, type Probe } from "@openclaw-cluster/contract/membership";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { COORDINATOR_KEY } from "../../../tests/support/fake-keys.ts";
import { HandClock } from "../../../tests/support/hand-clock.ts";
import { startRamCluster, type RamCluster } from "../../../tests/support/ram-cluster.ts";
import { Policy } from "../core/policy.ts";
import { openRamStore } from "../store/ram.ts";
import type { Store } from "../store/store.ts";
import { readJoinCode } from "../trust/join-code.ts";
import { joinKey, makeJoinRequest } from "../trust/join-proof.ts";
import { createNodeKeys, type NodeKeys } from "../trust/keys.ts";
import { makeSessionRequest } from "../trust/session-proof.ts";
import { makeLeaveRequest, makeProbeRequest, makeRotateRequest, type Member } from "../trust/membership-proof.ts";

const NAS = NodeId.parse("nas");
const unauthorized = expect.objectContaining({ code: "unauthorized" });
const NEVER = new AbortController().signal;

let cluster: RamCluster;
let keys: NodeKeys;
let store: Store;
const member = async (): Promise<Member> => {
  const { cluster: id } = await cluster.coordinator.session(NAS, makeSessionRequest(NAS, COORDINATOR_KEY, keys.seed));
  return { cluster: id, node: NAS };
};
const probe = async (kind: "echo" | "agent" = "echo", by = keys): Promise<Probe> =>
  cluster.coordinator.probe(NAS, makeProbeRequest(await member(), Date.now(), kind, by), NEVER);
const leave = async (wish: LeaveWish, by = keys): Promise<Leaving> =>
  cluster.coordinator.leave(NAS, makeLeaveRequest(await member(), Date.now(), wish, by));
const acts = async (): Promise<string[]> =>
  (await cluster.coordinator.auditLog({ after: 0, limit: 100 })).entries.map(({ actor, action }) => `${actor} ${action}`);
const echo = (delayMs: number) => ({ kind: "echo" as const, input: { delayMs }, require: { nodes: [NAS] } });

beforeEach(async () => {
  store = openRamStore();
  cluster = await startRamCluster({ store });
  keys = createNodeKeys();
});
afterEach(() => cluster.stop());

describe("a session", () => {
  test("so many in a minute of one that is known by its key; whoever has another key uses nothing of it up", async () => {
    const clock = new HandClock();
    const own = await startRamCluster({ store: openRamStore(), clock });
    try {
      await own.coordinator.enrol({ id: NAS, publicKey: keys.publicKey });
      const ask = (by: NodeKeys) => own.coordinator.session(NAS, makeSessionRequest(NAS, COORDINATOR_KEY, by.seed));
      for (let asked = 0; asked < MEMBERSHIP.sessionsMax; asked++) {
        await expect(ask(createNodeKeys())).rejects.toEqual(unauthorized);
        expect((await ask(keys)).node).toBe(NAS);
      }
      const overloaded = expect.objectContaining({ code: "overloaded", retryAfterMs: 60_000 });
      await expect(ask(keys)).rejects.toEqual(overloaded);
      clock.advance(60_000);
      expect((await ask(keys)).node).toBe(NAS);
    } finally {
      await own.stop();
    }
  });
});

describe("a probe", () => {
  test("is a task that the node itself has run, and tells how the cluster sees the node", async () => {
    await cluster.addWorker("nas", {}, undefined, keys.publicKey);
    await cluster.addWorker("air");
    const { task, ...seen } = await probe();
    expect(seen).toMatchObject({ state: "succeeded", name: "test", node: { id: "nas", state: "ready", slots: 4 } });
    expect(await cluster.coordinator.task(task)).toMatchObject({ node: "nas", name: "probe", reason: "done" });
  });

  test("heard and sent again it runs nothing more", async () => {
    await cluster.addWorker("nas", {}, undefined, keys.publicKey);
    const request = makeProbeRequest(await member(), Date.now(), "echo", keys);
    const first = await cluster.coordinator.probe(NAS, request, NEVER);
    expect((await cluster.coordinator.probe(NAS, request, NEVER)).task).toBe(first.task);
    expect((await cluster.coordinator.list({}, { limit: 10 })).tasks).toHaveLength(1);
  });

  test("a few in a minute, and each node has its own", async () => {
    await cluster.addWorker("nas", {}, undefined, keys.publicKey);
    for (let asked = 0; asked < MEMBERSHIP.probesMax; asked++) await probe();
    await expect(probe()).rejects.toMatchObject({ code: "overloaded", retryAfterMs: expect.any(Number) as number });
  });

  test("is not for another's key, nor for one who waits or was shut out", async () => {
    await cluster.coordinator.enrol({ id: NAS, publicKey: keys.publicKey });
    await expect(probe("echo", createNodeKeys())).rejects.toEqual(unauthorized);
    const mine = await member();
    await cluster.coordinator.revokeNode(NAS);
    await expect(cluster.coordinator.probe(NAS, makeProbeRequest(mine, Date.now(), "echo", keys), NEVER)).rejects.toEqual(unauthorized);
  });
});

test("a node that waits for its approval is told so, and not that asking again would help", async () => {
  const { code } = await cluster.coordinator.invite({ approve: false, ttlMs: INVITE.ttlDefaultMs });
  const { invite, secret } = readJoinCode(code);
  const said = { invite, node: NAS, publicKey: keys.publicKey, hostname: "nas", os: "linux" };
  await cluster.coordinator.join(makeJoinRequest(said, joinKey(secret), keys.seed));
  const waits = { code: "state_conflict", retryable: false, detail: expect.stringContaining("nodes approve nas") as string };
  await expect(probe().catch(toProblem)).resolves.toMatchObject(waits);
  const rotation = makeRotateRequest(await member(), Date.now(), keys, createNodeKeys());
  await expect(cluster.coordinator.rotate(NAS, rotation).catch(toProblem)).resolves.toMatchObject(waits);
});

describe("a probe that nobody runs", () => {
  test("is given up in time, and says why", async () => {
    const clock = new HandClock();
    const own = await startRamCluster({ clock });
    try {
      const deaf = Policy.parse({ version: 1, deny: { kinds: ["echo"] } });
      await own.addWorker("nas", {}, deaf, keys.publicKey);
      const { cluster: id, now } = await own.coordinator.session(NAS, makeSessionRequest(NAS, COORDINATOR_KEY, keys.seed));
      const asked = own.coordinator.probe(NAS, makeProbeRequest({ cluster: id, node: NAS }, now, "echo", keys), NEVER);
      await expect.poll(() => own.coordinator.queue(1).queued).toBe(1);
      clock.advance(MEMBERSHIP.echoMsMax);
      expect(await asked).toMatchObject({ why: expect.stringContaining("nas does not allow tasks of kind echo") as string });
      expect(own.coordinator.queue(1).queued).toBe(0);
    } finally {
      await own.stop();
    }
  });
});

describe("leaving", () => {
  test("no new work, and what is left is told until it has ended; asked again it is written once", async () => {
    await cluster.addWorker("nas", {}, undefined, keys.publicKey);
    const [task] = await cluster.coordinator.submit({ owner: "ann", specs: [echo(150)] });
    await expect.poll(async () => (await cluster.coordinator.task(task!.id)).state).toBe("running");
    expect(await leave("drain")).toEqual({ node: NAS, gone: false, wasDraining: false, held: 1, tasks: [task!.id] });
    expect(await leave("drain")).toMatchObject({ wasDraining: true, held: 1 });
    await cluster.coordinator.submit({ owner: "ann", specs: [echo(0)] });
    await expect.poll(() => leave("drain")).toMatchObject({ held: 0, tasks: [] });
    expect(cluster.coordinator.queue(1).queued).toBe(1);
    expect(await leave("stay")).toMatchObject({ wasDraining: true });
    await expect.poll(() => cluster.coordinator.queue(1).queued).toBe(0);
    expect((await acts()).slice(1)).toEqual(["node nas node.drained", "node nas node.resumed"]);
  });

  test("gone, it is forgotten in one commit: row, leases and key; its id is free, and its tasks are others'", async () => {
    const worker = await cluster.addWorker("nas", {}, undefined, keys.publicKey);
    const [task] = await cluster.coordinator.submit({ owner: "ann", specs: [{ kind: "echo", input: { delayMs: 60_000 } }] });
    await expect.poll(async () => (await cluster.coordinator.task(task!.id)).state).toBe("running");
    await expect(leave("go")).rejects.toMatchObject({
      code: "state_conflict",
      detail: expect.stringContaining("must have ended first") as string,
    });
    await cluster.lose(worker);
    const mine = await member();
    const go = makeLeaveRequest(mine, Date.now(), "go", keys);
    expect(await cluster.coordinator.leave(NAS, go)).toMatchObject({ gone: true, held: 0 });
    expect(await cluster.coordinator.task(task!.id)).toMatchObject({ state: "queued" });
    expect((await store.load()).nodes).toEqual([]);
    expect((await acts()).at(-1)).toBe("node nas node.left");
    // Whoever has heard it can do nothing with it, nor the node with its key.
    await expect(cluster.coordinator.leave(NAS, go)).rejects.toEqual(unauthorized);
    await expect(cluster.coordinator.session(NAS, makeSessionRequest(NAS, COORDINATOR_KEY, keys.seed))).rejects.toEqual(unauthorized);
    await cluster.coordinator.cancel(task!.id);
    const other = createNodeKeys();
    await cluster.coordinator.enrol({ id: NAS, publicKey: other.publicKey });
    await expect(cluster.coordinator.leave(NAS, go)).rejects.toEqual(unauthorized);
  });

  test("nobody goes by a signature of another time, nor by that of another key", async () => {
    await cluster.coordinator.enrol({ id: NAS, publicKey: keys.publicKey });
    const old = makeLeaveRequest(await member(), Date.now() - 2 * MEMBERSHIP.freshMs, "go", keys);
    await expect(cluster.coordinator.leave(NAS, old)).rejects.toEqual(unauthorized);
    await expect(leave("go", createNodeKeys())).rejects.toEqual(unauthorized);
    expect(await leave("go")).toMatchObject({ gone: true });
  });

  test("a node asks for no more than a few changes in a minute", async () => {
    await cluster.coordinator.enrol({ id: NAS, publicKey: keys.publicKey });
    for (let asked = 0; asked < MEMBERSHIP.changesMax; asked++) await leave(asked % 2 === 0 ? "drain" : "stay");
    await expect(leave("drain")).rejects.toMatchObject({ code: "overloaded" });
    expect(await leave("go")).toMatchObject({ gone: true });
  });

  test("the node that runs the coordinator stays", async () => {
    const lead = NodeId.parse("lead");
    await cluster.coordinator.enrol({ id: lead, publicKey: keys.publicKey });
    const { cluster: id } = await cluster.coordinator.session(lead, makeSessionRequest(lead, COORDINATOR_KEY, keys.seed));
    const go = makeLeaveRequest({ cluster: id, node: lead }, Date.now(), "go", keys);
    await expect(cluster.coordinator.leave(lead, go)).rejects.toMatchObject({ code: "state_conflict" });
  });
});

describe("another key", () => {
  test("is taken in one commit, also by the successor; the old one opens nothing, and asking again does no harm", async () => {
    await cluster.addWorker("nas", {}, undefined, keys.publicKey);
    const next = createNodeKeys();
    const request = makeRotateRequest(await member(), Date.now(), keys, next);
    expect(await cluster.coordinator.rotate(NAS, request)).toEqual({ node: NAS, publicKey: next.publicKey });
    expect(await cluster.coordinator.rotate(NAS, request)).toEqual({ node: NAS, publicKey: next.publicKey });
    await expect(cluster.coordinator.session(NAS, makeSessionRequest(NAS, COORDINATOR_KEY, keys.seed))).rejects.toEqual(unauthorized);
    await cluster.restartCoordinator();
    expect(await cluster.coordinator.session(NAS, makeSessionRequest(NAS, COORDINATOR_KEY, next.seed))).toMatchObject({
      state: "approved",
    });
    expect((await acts()).filter((act) => act.endsWith("node.rotated"))).toHaveLength(1);
  });

  test("two at once: one is taken, and the other's owner still comes in with what it has", async () => {
    await cluster.coordinator.enrol({ id: NAS, publicKey: keys.publicKey });
    const [one, two] = [createNodeKeys(), createNodeKeys()];
    const mine = await member();
    const requests = [one, two].map((next) => makeRotateRequest(mine, Date.now(), keys, next));
    const ends = await Promise.allSettled(requests.map((request) => cluster.coordinator.rotate(NAS, request)));
    expect(ends.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
    expect((await cluster.coordinator.session(NAS, makeSessionRequest(NAS, COORDINATOR_KEY, one.seed))).state).toBe("approved");
  });

  test("is no key of another node, and no stranger brings one in", async () => {
    const others = createNodeKeys();
    await cluster.coordinator.enrol({ id: NodeId.parse("air"), publicKey: others.publicKey });
    await cluster.coordinator.enrol({ id: NAS, publicKey: keys.publicKey });
    const mine = await member();
    await expect(cluster.coordinator.rotate(NAS, makeRotateRequest(mine, Date.now(), keys, others))).rejects.toMatchObject({
      code: "state_conflict",
    });
    const stranger = createNodeKeys();
    const forged = makeRotateRequest(mine, Date.now(), stranger, stranger);
    await expect(cluster.coordinator.rotate(NAS, forged)).rejects.toEqual(unauthorized);
  });

  test("a disk that is full at that moment leaves the old one in its place", async () => {
    await cluster.coordinator.enrol({ id: NAS, publicKey: keys.publicKey });
    const next = createNodeKeys();
    const request = makeRotateRequest(await member(), Date.now(), keys, next);
    const { commit } = store;
    store.commit = () => Promise.reject(new ClusterError("storage_full", "The disk is full."));
    await expect(cluster.coordinator.rotate(NAS, request)).rejects.toMatchObject({ code: "storage_full" });
    store.commit = commit;
    expect((await cluster.coordinator.session(NAS, makeSessionRequest(NAS, COORDINATOR_KEY, keys.seed))).state).toBe("approved");
    await expect(cluster.coordinator.session(NAS, makeSessionRequest(NAS, COORDINATOR_KEY, next.seed))).rejects.toEqual(unauthorized);
    expect(await cluster.coordinator.rotate(NAS, request)).toMatchObject({ publicKey: next.publicKey });
  });
});
