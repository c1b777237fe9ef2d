/**
 * A key is that of one node, at one coordinator: whoever comes with it under another name is told so before anything is changed,
 * a store that holds such twins from before still opens, and another cluster gets another key.
 */
import { createServer } from "node:http";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { NodeId } from "@openclaw-cluster/contract/ids";
import { afterAll, beforeAll, expect, test } from "vitest";
import { runCommand } from "../../scripts/daemon.ts";
import { readNodeKeys } from "../../cluster/src/trust/keys.ts";
import { startCluster, until, type TestCluster } from "../support/daemon.ts";
import { joinMember, type Member } from "../support/member.ts";

let cluster: TestCluster;
let nas: Member;
beforeAll(async () => {
  cluster = await startCluster({ roles: ["coordinator", "worker"] });
  nas = await joinMember(cluster, "nas");
  await stateOf("nas", "ready");
});
afterAll(async () => {
  await nas?.joined.end();
  await cluster?.end();
});

const stateOf = (id: string, state: string): Promise<true> =>
  until(`${id} is ${state}`, async () => {
    const { nodes } = await cluster.client.nodes();
    return nodes.some((node) => node.id === id && node.state === state) || undefined;
  });
const keyIn = (home: string): string => readNodeKeys(path.join(home, "node.seed"))?.publicKey ?? "";
const database = (): DatabaseSync => new DatabaseSync(path.join(cluster.lead.home, "data", "cluster.db"));
const idsInStore = (): unknown[] => {
  const store = database();
  try {
    return store
      .prepare("SELECT id FROM nodes ORDER BY id")
      .all()
      .map(({ id }) => id);
  } finally {
    store.close();
  }
};
/** On the coordinator's machine. */
const onLead = (...argv: string[]) => runCommand([...argv, "--home", cluster.lead.home]).ended();

test("an administrator who enrols a known key under another name is refused, and the cluster goes on", async () => {
  await expect(cluster.client.enrol({ id: NodeId.parse("twin"), publicKey: keyIn(nas.home) })).rejects.toMatchObject({
    code: "state_conflict",
    detail: expect.stringContaining("that of the node nas already") as string,
  });
  const own = (await readFile(path.join(nas.home, "coordinator.key"), "utf8")).trim();
  await expect(cluster.client.enrol({ id: NodeId.parse("twin"), publicKey: own })).rejects.toMatchObject({ code: "state_conflict" });
  await cluster.lead.stop();
  await cluster.lead.start();
  await stateOf("nas", "ready");
});

test("a coordinator's machine that was given another name says what to do, and nothing was changed", async () => {
  await cluster.lead.stop();
  const ids = idsInStore();
  expect((await onLead("config", "set", "nodeId", "other")).code).toBe(0);
  const end = await onLead("start");
  expect(end).toMatchObject({ code: 2, stderr: expect.stringContaining("the cluster knows this machine as lead") as string });
  expect(end.stderr).toContain("openclaw-cluster config set nodeId lead");
  expect(idsInStore()).toEqual(ids);
  expect((await onLead("config", "set", "nodeId", "lead")).code).toBe(0);
  await cluster.lead.start();
  await stateOf("lead", "ready");
  await stateOf("nas", "ready");
});

test("a store with twins of before opens: the later one is kept away, told of, and can be taken out", async () => {
  await cluster.lead.stop();
  const store = database();
  const { node } = store.prepare("SELECT node FROM nodes WHERE id = 'nas'").get() as { node: string };
  const row = JSON.parse(node) as { registeredAt: number };
  store
    .prepare("INSERT INTO nodes (id, node) VALUES ('twin', ?)")
    .run(JSON.stringify({ ...row, id: "twin", registeredAt: row.registeredAt + 1 }));
  store.close();
  await cluster.lead.start();
  await stateOf("nas", "ready");
  const problem = "twin has the key of nas, and so it is kept away from the bus; take it out: openclaw-cluster nodes remove twin.";
  expect((await cluster.client.health()).problems).toContain(problem);
  expect((await cluster.cli("nodes", "remove", "twin")).code).toBe(0);
  expect((await cluster.client.health()).problems).toEqual([]);
});

test("whoever takes the coordinator's port while it is away ends no node: it waits, and goes on when the coordinator is back", async () => {
  await nas.joined.end("SIGTERM");
  await cluster.lead.stop();
  let asked = 0;
  const impostor = createServer((_request, response) => {
    asked += 1;
    const problem = { type: "about:blank", title: "", status: 401, code: "unauthorized", detail: "no", hint: "", retryable: false };
    response.writeHead(401, { "content-type": "application/problem+json", connection: "close" }).end(JSON.stringify(problem));
  }).listen(Number(new URL(cluster.url).port), "127.0.0.1");
  await once(impostor, "listening");
  const daemon = nas.run("start");
  try {
    await daemon.says(/does not prove to be the coordinator that this machine has joined, and says unauthorized/);
    await until("it asks again", () => (asked > 2 ? true : undefined));
    impostor.close();
    await once(impostor, "close");
    await cluster.lead.start();
    await stateOf("nas", "ready");
  } finally {
    impostor.close();
    await daemon.end("SIGTERM");
  }
  expect((await daemon.ended()).code).toBe(0);
});

test("a machine that joins another cluster comes with another key, and keeps its own until it is in", async () => {
  const before = keyIn(nas.home);
  const other = await startCluster();
  try {
    const { code } = (await other.cli("invite", "--approve", "--json")).json as { code: string };
    // A code that lets nobody in changes nothing here.
    expect((await nas.run("join", code, "--no-start", "--url", cluster.url).ended()).code).toBe(1);
    expect(keyIn(nas.home)).toBe(before);
    expect(await nas.run("join", code, "--no-start").ended()).toMatchObject({ code: 0 });
    expect(keyIn(nas.home)).not.toBe(before);
    const daemon = await other.startHome(nas.home);
    await until("it is ready there", async () => (await other.client.node({ id: nas.id })).state === "ready" || undefined);
    await daemon.stop();
  } finally {
    await other.end();
  }
});
