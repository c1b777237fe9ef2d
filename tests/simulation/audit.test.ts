/** What administrators do is noted in the commit that does it, in a chain that shows every later change. */
import { NodeId, type TaskId } from "@openclaw-cluster/contract/ids";
import { InviteRequest } from "@openclaw-cluster/contract/join";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openRamStore } from "../../cluster/src/store/ram.ts";
import { EMPTY_CHAIN, follow } from "../../cluster/src/trust/audit-chain.ts";
import { fingerprintOf } from "../../cluster/src/trust/fingerprint.ts";
import { readJoinCode } from "../../cluster/src/trust/join-code.ts";
import { joinKey, makeJoinRequest } from "../../cluster/src/trust/join-proof.ts";
import { createNodeKeys } from "../../cluster/src/trust/keys.ts";
import { startRamCluster, type RamCluster } from "../support/ram-cluster.ts";

const NAS = NodeId.parse("nas");
const ANN = "token k7qwjm2a (ann)";

let cluster: RamCluster;
let full: boolean;
beforeEach(async () => {
  full = false;
  const store = openRamStore();
  const commit = store.commit.bind(store);
  store.commit = async (batch) => {
    if (full) throw new ClusterError("storage_full", "The disk is full.");
    await commit(batch);
  };
  cluster = await startRamCluster({ store });
});
afterEach(() => cluster.stop());

const log = async () => (await cluster.coordinator.auditLog({ after: 0, limit: 500 })).entries;
const told = async () => (await log()).map(({ actor, action, object }) => `${actor} ${action} ${object}`);

test("every act of an administrator, by whom and on what, and nothing of a secret", async () => {
  const { coordinator } = cluster;
  const { code, id } = await coordinator.invite(InviteRequest.parse({ node: NAS }), ANN);
  const { invite, secret } = readJoinCode(code);
  const { publicKey, seed } = createNodeKeys();
  await coordinator.join(makeJoinRequest({ invite, node: NAS, publicKey, hostname: "nas.local", os: "linux" }, joinKey(secret), seed));
  await coordinator.approveNode(NAS, ANN);
  await coordinator.patchNode(NAS, { labels: { gpu: "yes" } }, ANN);
  await coordinator.drain(NAS, true, ANN);
  await coordinator.drain(NAS, false, ANN);
  await coordinator.shutdownNode(NAS, ANN);
  const made = await coordinator.makeToken({ name: "ci", scope: "viewer" }, ANN);
  await coordinator.revokeToken(made.id, ANN);
  await coordinator.revokeNode(NAS, ANN);
  await coordinator.removeNode(NAS, ANN);
  expect(await told()).toEqual([
    `${ANN} node.invited ${id} for nas`,
    `node nas node.joined ${id}, key ${fingerprintOf(publicKey)}, nas.local`,
    `${ANN} node.approved nas, key ${fingerprintOf(publicKey)}`,
    `${ANN} node.changed nas`,
    `${ANN} node.drained nas`,
    `${ANN} node.resumed nas`,
    `${ANN} node.shut_down nas`,
    `${ANN} token.made ${made.id} (ci), viewer`,
    `${ANN} token.revoked ${made.id} (ci)`,
    `${ANN} node.revoked nas`,
    `${ANN} node.removed nas`,
  ]);
  const text = JSON.stringify(await log());
  for (const hidden of [secret, code, made.token]) expect(text).not.toContain(hidden);
});

test("hands laid on others' tasks are noted, one by one or as many at once; one's own are nobody's affair", async () => {
  const { coordinator } = cluster;
  const by = { actor: ANN, user: "ann" };
  const spec = { kind: "echo" as const, input: {}, require: { nodes: [NAS] } };
  const submit = async (owner: string): Promise<TaskId> => {
    const [submitted] = await coordinator.submit({ owner, specs: [spec] });
    return (submitted as { id: TaskId }).id;
  };
  const [hers, his, nobodys] = [await submit("ann"), await submit("bob"), await submit("")];
  await coordinator.cancel(hers, by);
  await coordinator.cancel(his, by);
  await coordinator.retry(his, by);
  await coordinator.cancel(nobodys, by);
  await coordinator.bulk({ filter: {}, act: { kind: "cancel" }, dryRun: true }, by);
  await coordinator.bulk({ filter: {}, act: { kind: "retry" } }, by);
  await expect(coordinator.retry(his, by)).rejects.toMatchObject({ code: "state_conflict" });
  expect(await told()).toEqual([
    `${ANN} task.changed cancel ${his} of bob`,
    `${ANN} task.changed retry ${his} of bob`,
    `${ANN} task.changed cancel ${nobodys}`,
    `${ANN} task.changed retry 1 tasks of others at once`,
  ]);
});

test("the chain goes on over a restart, in pages, and an act that was not committed is not in it", async () => {
  await cluster.coordinator.makeToken({ name: "one", scope: "viewer" });
  full = true;
  await expect(cluster.coordinator.makeToken({ name: "two", scope: "viewer" })).rejects.toMatchObject({ code: "storage_full" });
  full = false;
  expect(cluster.coordinator.tokens().map(({ name }) => name)).toEqual(["one"]);
  await cluster.restartCoordinator();
  await cluster.coordinator.makeToken({ name: "three", scope: "viewer" });
  const first = await cluster.coordinator.auditLog({ after: 0, limit: 1 });
  expect(first.next).toBe(1);
  const rest = await cluster.coordinator.auditLog({ after: 1, limit: 5 });
  expect(rest.next).toBeUndefined();
  expect((await told()).map((text) => text.split(" ").at(-2))).toEqual(["(one),", "(three),"]);
  expect(follow(EMPTY_CHAIN, [...first.entries, ...rest.entries])).toMatchObject({ head: { seq: 2 } });
});

test("guesses are noted, and no more than some a minute", async () => {
  for (let n = 0; n < 100; n++) cluster.coordinator.guessed("100.64.0.9");
  await cluster.coordinator.makeToken({ name: "after", scope: "viewer" });
  const guesses = (await told()).filter((text) => text === "address 100.64.0.9 api.guessed too many wrong tokens");
  expect(guesses).toHaveLength(30);
});
