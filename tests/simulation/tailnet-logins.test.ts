/** What Tailscale says of a joining machine: kept with the node, told in the audit log, and asked for where the settings want it (J4). */
import { NodeId } from "@openclaw-cluster/contract/ids";
import { InviteRequest, type JoinRequest } from "@openclaw-cluster/contract/join";
import { afterEach, expect, test } from "vitest";
import type { Whois } from "../../cluster/src/system/tailscale-whois.ts";
import { fingerprintOf } from "../../cluster/src/trust/fingerprint.ts";
import { readJoinCode } from "../../cluster/src/trust/join-code.ts";
import { joinKey, makeJoinRequest } from "../../cluster/src/trust/join-proof.ts";
import { createNodeKeys } from "../../cluster/src/trust/keys.ts";
import { startRamCluster, type RamCluster } from "../support/ram-cluster.ts";

const NAS = NodeId.parse("nas");
const PEER = { address: "100.70.0.2", port: 40_000 };
const ANN: Whois = { kind: "known", who: { login: "ann@example.com", machine: "nas.tail1a2b3.ts.net", tags: [] } };
const BOB: Whois = { kind: "known", who: { login: "bob@example.com", tags: [] } };
const TAGGED: Whois = { kind: "known", who: { tags: ["tag:ci"] } };
const NOBODY: Whois = { kind: "unknown", reason: "Tailscale is not here" };

let cluster: RamCluster;
let asked: unknown[];
afterEach(() => cluster.stop());

async function start(logins: readonly string[], whois: Whois): Promise<void> {
  asked = [];
  const joiners = { logins, whois: async (peer: unknown) => (asked.push(peer), whois) };
  cluster = await startRamCluster({ joiners });
}
async function requestFor(hostname = "nas.local"): Promise<JoinRequest> {
  const { code } = await cluster.coordinator.invite(InviteRequest.parse({ approve: true }));
  const { invite, secret } = readJoinCode(code);
  const { publicKey, seed } = createNodeKeys();
  return makeJoinRequest({ invite, node: NAS, publicKey, hostname, os: "linux" }, joinKey(secret), seed);
}
const told = async (action: string): Promise<string[]> => {
  // What was noted is committed by the turn that follows.
  await cluster.coordinator.makeToken({ name: "later", scope: "viewer" });
  return (await cluster.coordinator.auditLog({ after: 0, limit: 500 })).entries
    .filter((entry) => entry.action === action)
    .map(({ actor, object }) => `${actor}: ${object}`);
};

test("login and machine are kept with the node, over a restart, and stand in the audit log before what it says of itself", async () => {
  await start([], ANN);
  const request = await requestFor("h".repeat(253));
  await cluster.coordinator.join(request, PEER);
  await cluster.restartCoordinator();
  expect(asked).toEqual([PEER]);
  const joinedFrom = { address: PEER.address, login: "ann@example.com", machine: "nas.tail1a2b3.ts.net", tags: [] };
  expect(cluster.coordinator.node(NAS)).toMatchObject({ joinedFrom });
  const [joined] = await told("node.joined");
  expect(joined).toContain(
    `node nas: ${request.invite}, key ${fingerprintOf(request.publicKey)}, ann@example.com (nas.tail1a2b3.ts.net) at ${PEER.address}, hhh`,
  );
});

test.each<[string, readonly string[], Whois]>([
  ["nobody in particular", [], NOBODY],
  ["this login", ["bob@example.com", "ann@example.com"], ANN],
  ["this tag", ["tag:ci"], TAGGED],
])("where %s is asked for: it joins", async (_what, logins, whois) => {
  await start(logins, whois);
  expect(await cluster.coordinator.join(await requestFor(), PEER)).toMatchObject({ state: "approved" });
});

test.each<[string, readonly string[], Whois, string]>([
  ["another's login", ["ann@example.com"], BOB, "it is bob@example.com"],
  ["a tag instead of a login", ["ann@example.com"], TAGGED, "it is tag:ci"],
  ["no word from Tailscale", ["ann@example.com"], NOBODY, "nobody knows whose it is: Tailscale is not here"],
])("%s: refused, noted, and the code stays good", async (_what, logins, whois, why) => {
  await start(logins, whois);
  const request = await requestFor();
  await expect(cluster.coordinator.join(request, PEER)).rejects.toMatchObject({
    code: "forbidden",
    detail: expect.stringContaining(why) as string,
  });
  await expect(cluster.coordinator.join(request)).rejects.toMatchObject({ code: "forbidden" });
  expect(cluster.coordinator.nodes()).toEqual([]);
  expect((await told("node.join_refused"))[0]).toBe(`address ${PEER.address}: ${request.invite} for nas: ${why}`);
});

test("nobody is looked up for who proves nothing; who may not join does not fill the log", async () => {
  await start(["ann@example.com"], BOB);
  const request = await requestFor();
  await expect(cluster.coordinator.join({ ...request, hostname: "other" }, PEER)).rejects.toMatchObject({ code: "unauthorized" });
  expect(asked).toEqual([]);
  for (let n = 0; n < 100; n += 1) await expect(cluster.coordinator.join(request, PEER)).rejects.toMatchObject({ code: "forbidden" });
  expect(await told("node.join_refused")).toHaveLength(30);
});
