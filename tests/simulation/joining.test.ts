/** Coming in and having to leave, on the real coordinator in one process: codes are used once, and nobody comes in by another's. */
import type { ClusterError } from "@openclaw-cluster/contract/errors";
import { NodeId } from "@openclaw-cluster/contract/ids";
import { INVITE, InviteRequest, type JoinRequest } from "@openclaw-cluster/contract/join";
import { afterEach, beforeEach, expect, test } from "vitest";
import { NOT_KNOWN } from "../../cluster/src/coordinator/join-desk.ts";
import { fingerprintOf } from "../../cluster/src/trust/fingerprint.ts";
import { readJoinCode } from "../../cluster/src/trust/join-code.ts";
import { isReplyProven, joinKey, makeJoinRequest } from "../../cluster/src/trust/join-proof.ts";
import { createNodeKeys, type NodeKeys } from "../../cluster/src/trust/keys.ts";
import { isRefusal, isSessionAnswer, makeSessionRequest } from "../../cluster/src/trust/session-proof.ts";
import { COORDINATOR_KEY, keyFor } from "../support/fake-keys.ts";
import { HandClock } from "../support/hand-clock.ts";
import { startRamCluster, type RamCluster } from "../support/ram-cluster.ts";

const NAS = NodeId.parse("nas");
const NODE_NOBODY = NodeId.parse("nobody");
const GOOD = createNodeKeys();

let cluster: RamCluster;
let clock: HandClock;
beforeEach(async () => {
  clock = new HandClock();
  cluster = await startRamCluster({ clock });
});
afterEach(() => cluster.stop());

const invite = (terms: object = {}): Promise<string> => cluster.coordinator.invite(InviteRequest.parse(terms)).then(({ code }) => code);
const requestOf = (code: string, keys: NodeKeys, more: Partial<JoinRequest> = {}): JoinRequest => {
  const { invite: id, secret } = readJoinCode(code);
  const said = { invite: id, node: NAS, publicKey: keys.publicKey, hostname: "nas.local", os: "linux" };
  return { ...makeJoinRequest(said, joinKey(secret), keys.seed), ...more };
};
const renamed = (code: string, keys: NodeKeys, id: string): JoinRequest => {
  const { invite: of, secret } = readJoinCode(code);
  const said = { invite: of, node: NodeId.parse(id), publicKey: keys.publicKey, hostname: "nas.local", os: "linux" };
  return makeJoinRequest(said, joinKey(secret), keys.seed);
};
const unauthorized = expect.objectContaining({ code: "unauthorized" });

test("with a code that lets it in at once: proven both ways, and known by its key", async () => {
  const code = await invite({ approve: true });
  const keys = createNodeKeys();
  const request = requestOf(code, keys);
  const reply = await cluster.coordinator.join(request);
  expect(reply.state).toBe("approved");
  expect(isReplyProven(reply, request, joinKey(readJoinCode(code).secret))).toBe(true);
  expect(cluster.coordinator.node(NAS)).toMatchObject({ state: "offline" });
  await expect(cluster.coordinator.session(NAS, makeSessionRequest(NAS, COORDINATOR_KEY, keys.seed))).resolves.toMatchObject({
    state: "approved",
    busUrls: ["ram:"],
  });
  await expect(cluster.coordinator.session(NAS, makeSessionRequest(NAS, COORDINATOR_KEY, createNodeKeys().seed))).rejects.toThrow(
    unauthorized,
  );
  const nobody = NodeId.parse("nobody");
  await expect(cluster.coordinator.session(nobody, makeSessionRequest(nobody, COORDINATOR_KEY, keys.seed))).rejects.toThrow(unauthorized);
});

test("with one that does not: it waits until somebody approves it", async () => {
  const keys = createNodeKeys();
  expect(await cluster.coordinator.join(requestOf(await invite(), keys))).toMatchObject({ state: "pending" });
  expect(cluster.coordinator.node(NAS)).toMatchObject({ state: "pending" });
  expect((await cluster.coordinator.session(NAS, makeSessionRequest(NAS, COORDINATOR_KEY, keys.seed))).state).toBe("pending");
  expect(await cluster.coordinator.approveNode(NAS)).toMatchObject({ state: "offline" });
  expect((await cluster.coordinator.session(NAS, makeSessionRequest(NAS, COORDINATOR_KEY, keys.seed))).state).toBe("approved");
});

test("whoever approves a machine sees its key, what it says of itself, and from where it came", async () => {
  const keys = createNodeKeys();
  await cluster.coordinator.join(requestOf(await invite(), keys), { address: "192.0.2.7", port: 4_000 });
  expect(cluster.coordinator.node(NAS)).toMatchObject({
    state: "pending",
    fingerprint: fingerprintOf(keys.publicKey),
    claimed: { hostname: "nas.local", os: "linux" },
    joinedFrom: { address: "192.0.2.7", tags: [] },
  });
});

test.each([
  ["an id that is not there", () => cluster.coordinator.session(NODE_NOBODY, makeSessionRequest(NODE_NOBODY, COORDINATOR_KEY, GOOD.seed))],
  ["a wrong key", () => cluster.coordinator.session(NAS, makeSessionRequest(NAS, COORDINATOR_KEY, createNodeKeys().seed))],
  ["a question to another coordinator", () => cluster.coordinator.session(NAS, makeSessionRequest(NAS, keyFor("other"), GOOD.seed))],
  [
    "one that was shut out",
    async () => {
      await cluster.coordinator.revokeNode(NAS);
      return cluster.coordinator.session(NAS, makeSessionRequest(NAS, COORDINATOR_KEY, GOOD.seed));
    },
  ],
])("%s: the same refusal, signed by the coordinator (J3, J5)", async (_what, ask) => {
  await cluster.coordinator.join(requestOf(await invite({ approve: true }), GOOD));
  const refusal = await ask().catch((error: unknown) => error as ClusterError);
  expect(refusal).toMatchObject({ code: "unauthorized", detail: NOT_KNOWN, proof: expect.stringMatching(/^[\w-]{86}$/) as string });
});

test("an answer and a refusal are for one question alone, and by this coordinator alone", async () => {
  await cluster.coordinator.join(requestOf(await invite({ approve: true }), GOOD));
  const question = makeSessionRequest(NAS, COORDINATOR_KEY, GOOD.seed);
  const answer = await cluster.coordinator.session(NAS, question);
  expect(isSessionAnswer(NAS, answer, question, COORDINATOR_KEY)).toBe(true);
  expect(isSessionAnswer(NAS, answer, makeSessionRequest(NAS, COORDINATOR_KEY, GOOD.seed), COORDINATOR_KEY)).toBe(false);
  expect(isSessionAnswer(NAS, answer, question, createNodeKeys().publicKey)).toBe(false);
  expect(isSessionAnswer(NAS, { ...answer, busUrls: ["nats://evil:1"] }, question, COORDINATOR_KEY)).toBe(false);

  // Somebody in between spoils the question, and gets a refusal of that.
  const spoilt = { ...question, signature: makeSessionRequest(NAS, COORDINATOR_KEY, createNodeKeys().seed).signature };
  const refusal = (await cluster.coordinator.session(NAS, spoilt).catch((error: unknown) => error)) as ClusterError;
  expect(isRefusal(NAS, refusal, spoilt, COORDINATOR_KEY)).toBe(true);
  expect(isRefusal(NAS, refusal, question, COORDINATOR_KEY)).toBe(false);
  expect(isRefusal(NAS, { code: "node_removed", proof: refusal.proof }, spoilt, COORDINATOR_KEY)).toBe(false);
  expect(isRefusal(NODE_NOBODY, refusal, spoilt, COORDINATOR_KEY)).toBe(false);
  expect(isRefusal(NAS, { code: "unauthorized" }, spoilt, COORDINATOR_KEY)).toBe(false);
});

test.each([
  ["another node's", () => GOOD.publicKey, "the node nas already"],
  ["the coordinator's own", () => COORDINATOR_KEY, "the coordinator's own"],
])("nobody is enrolled with a key that is %s, and the cluster goes on (N1)", async (_whose, key, says) => {
  await cluster.coordinator.join(requestOf(await invite({ approve: true }), GOOD));
  await expect(cluster.coordinator.enrol({ id: NODE_NOBODY, publicKey: key() })).rejects.toMatchObject({
    code: "state_conflict",
    detail: expect.stringContaining(says) as string,
  });
  await cluster.restartCoordinator();
  expect(cluster.coordinator.nodes().map(({ id }) => id)).toEqual([NAS]);
});

test("two that race for one code: one wins; the winner may ask again, when its answer was lost", async () => {
  const code = await invite({ approve: true });
  const [one, two] = [createNodeKeys(), createNodeKeys()];
  const requests = [requestOf(code, one), requestOf(code, two)];
  const ends = await Promise.allSettled(requests.map((request) => cluster.coordinator.join(request)));
  expect(ends.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
  await expect(cluster.coordinator.join(requestOf(code, two, {}))).rejects.toEqual(unauthorized);
  expect((await cluster.coordinator.join(requestOf(code, one))).state).toBe("approved");
  await cluster.restartCoordinator();
  await expect(cluster.coordinator.join(requestOf(code, two))).rejects.toEqual(unauthorized);
});

test.each([
  ["was removed", () => cluster.coordinator.removeNode(NAS)],
  [
    "was shut out, and removed",
    async () => {
      await cluster.coordinator.revokeNode(NAS);
      await cluster.coordinator.removeNode(NAS);
    },
  ],
  ["was shut out", () => cluster.coordinator.revokeNode(NAS)],
])("a code that was used lets nobody in again whose node %s, under whatever name (J1)", async (_how, goes) => {
  const code = await invite({ approve: true });
  const keys = createNodeKeys();
  const request = requestOf(code, keys);
  await cluster.coordinator.join(request);
  await goes();
  for (const again of [request, requestOf(code, keys), renamed(code, keys, "other")])
    await expect(cluster.coordinator.join(again)).rejects.toMatchObject({
      code: expect.stringMatching(/^(unauthorized|state_conflict)$/) as string,
    });
  expect(cluster.coordinator.nodes().filter(({ state }) => state !== "revoked")).toEqual([]);
});

test.each([
  ["a word changed", (code: string) => requestOf(code, createNodeKeys(), { hostname: "other" })],
  ["another's public key", (code: string) => requestOf(code, createNodeKeys(), { publicKey: createNodeKeys().publicKey })],
  ["a code that was never made", (code: string) => ({ ...requestOf(code, createNodeKeys()), invite: "zzzzzzzz" as JoinRequest["invite"] })],
])("%s: refused, and the code stays good", async (_name, spoil) => {
  const code = await invite({ approve: true });
  await expect(cluster.coordinator.join(spoil(code))).rejects.toEqual(unauthorized);
  expect((await cluster.coordinator.join(requestOf(code, createNodeKeys()))).state).toBe("approved");
});

test("a code runs out, is for one id where it says so, and takes nobody's id away", async () => {
  const late = await invite({ approve: true });
  clock.advance(INVITE.ttlDefaultMs);
  await expect(cluster.coordinator.join(requestOf(late, createNodeKeys()))).rejects.toEqual(unauthorized);

  const named = await invite({ approve: true, node: NodeId.parse("studio") });
  await expect(cluster.coordinator.join(requestOf(named, createNodeKeys()))).rejects.toMatchObject({ code: "forbidden" });

  await cluster.coordinator.join(requestOf(await invite({ approve: true }), createNodeKeys()));
  const again = await invite({ approve: true });
  await expect(cluster.coordinator.join(requestOf(again, createNodeKeys()))).rejects.toMatchObject({ code: "state_conflict" });
});

test("a node that was revoked is not known any more, does not come back by itself, and may be let in anew", async () => {
  const keys = createNodeKeys();
  await cluster.coordinator.join(requestOf(await invite({ approve: true }), keys));
  expect(await cluster.coordinator.revokeNode(NAS)).toMatchObject({ state: "revoked" });
  await expect(cluster.coordinator.session(NAS, makeSessionRequest(NAS, COORDINATOR_KEY, keys.seed))).rejects.toThrow(unauthorized);
  await expect(cluster.coordinator.approveNode(NAS)).rejects.toMatchObject({ code: "state_conflict" });
  await expect(cluster.coordinator.join(requestOf(await invite({ approve: true }), keys))).rejects.toMatchObject({
    code: "state_conflict",
  });
  await cluster.coordinator.removeNode(NAS);
  expect((await cluster.coordinator.join(requestOf(await invite({ approve: true }), createNodeKeys()))).state).toBe("approved");
});

test("no more than so many codes are open at once; those that ran out make room", async () => {
  for (let made = 0; made < INVITE.openMax; made++) await invite();
  await expect(invite()).rejects.toMatchObject({ code: "overloaded" });
  clock.advance(INVITE.ttlDefaultMs);
  await invite();
});
