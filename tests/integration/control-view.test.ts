/** What people see of two control nodes on one etcd: real daemons, a real etcd. */
import { cp, mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { openClient, type Client } from "@openclaw-cluster/contract/client/client";
import { nodeTransport } from "@openclaw-cluster/contract/client/node-transport";
import type { ClusterView, ControlNode } from "@openclaw-cluster/contract/cluster";
import { afterAll, beforeAll, expect, it } from "vitest";
import { foldersOf } from "../../cluster/src/system/folders.ts";
import { startCluster, until, type TestCluster, type TestDaemon } from "../support/daemon.ts";
import { startTestEtcd, type TestEtcd } from "../support/etcd.ts";
import { runCli } from "../support/terminal.ts";

let etcd: TestEtcd;
let cluster: TestCluster;
let other: TestDaemon;
let otherUrl: string;
let asked: Client | undefined;

const settings = (): object => ({ store: { kind: "etcd", endpoints: [...etcd.urls] } });

beforeAll(async () => {
  etcd = await startTestEtcd({ members: 3 });
  cluster = await startCluster(settings());
  const home = path.join(cluster.folder, "nas");
  const [from, to] = [foldersOf(cluster.lead.home), foldersOf(home)];
  await mkdir(to.data, { recursive: true, mode: 0o700 });
  // All control nodes are one coordinator to their nodes.
  for (const file of ["coordinatorSeed", "authority", "authorityKey"] as const) await cp(from[file], to[file]);
  const own = { nodeId: "nas", roles: ["coordinator"], api: { port: 0 }, nats: { port: 0 }, log: { level: "warn" }, ...settings() };
  await writeFile(path.join(home, "cluster.yaml"), JSON.stringify(own), { mode: 0o600 });
  other = await cluster.startHome(home);
  const row = await seen((view) => rowOf(view, "nas"));
  otherUrl = row.urls[0] as string;
  asked = openClient({ url: otherUrl, token: cluster.token, transport: nodeTransport() });
}, 60_000);
afterAll(async () => {
  await asked?.close();
  await cluster?.end();
  await etcd?.stop();
});

const rowOf = ({ control = [] }: ClusterView, node: string): ControlNode | undefined => control.find((one) => one.node === node);
const seen = <T>(find: (view: ClusterView) => T | undefined): Promise<T> =>
  until("a view of the cluster", async () => find(await cluster.client.cluster()));

it("shows who leads and who stands by, with term and lag, and what the store and the bus stand on", async () => {
  const { epoch } = await cluster.client.cluster();
  await cluster.client.submitMany(Array.from({ length: 50 }, () => ({ kind: "echo" as const, input: {} })));
  const nas = await seen((view) => {
    const row = rowOf(view, "nas");
    return row?.epoch === epoch && row.lagMs === 0 ? row : undefined;
  });
  expect(nas).toMatchObject({ state: "standby", version: expect.any(String) });
  // Each says now and then how far it is; until the leader has, its row has the term before.
  const view = await seen((one) => (rowOf(one, "lead")?.epoch === epoch ? one : undefined));
  expect(rowOf(view, "lead")).toMatchObject({ state: "leader" });
  expect(rowOf(view, "lead")?.lagMs).toBeUndefined();
  expect(view.standsBy).toBeUndefined();
  expect(view.store.members?.map(({ name }) => name)).toStrictEqual(["m0", "m1", "m2"]);
  expect(view.store.members?.filter(({ state }) => state === "leader")).toHaveLength(1);
  expect(view.store.members?.every(({ term = 0, bytes = 0 }) => term > 0 && bytes > 0)).toBe(true);
  expect(view.bus).toMatchObject({ mode: "alone", servers: [{ version: view.bus.version, routes: [] }] });
});

it("is answered by one that stands by too, which says so", async () => {
  // It tells of none until it has seen itself among them.
  const view = await until("its own row", async () => {
    const one = await (asked as Client).cluster();
    return rowOf(one, "nas") === undefined ? undefined : one;
  });
  expect(view).toMatchObject({ coordinator: "nas", standsBy: { staleMs: 0 } });
  expect(rowOf(view, "nas")).toMatchObject({ state: "standby", lagMs: 0 });
  const env = { OPENCLAW_CLUSTER_URL: otherUrl, OPENCLAW_CLUSTER_TOKEN: cluster.token, OPENCLAW_CLUSTER_HOME: cluster.folder };
  const { code, stdout } = await runCli(["cluster"], { env });
  expect(code).toBe(0);
  expect(stdout).toMatch(/^answered by +nas, which stands by$/m);
  expect(stdout).toMatch(/^leader +lead, term \d+$/m);
});

it("is on the command line, and in one line of `status`", async () => {
  const { stdout } = await cluster.cli("cluster");
  expect(stdout).toMatch(/^leader +lead, term \d+, for /m);
  expect(stdout).toMatch(/^lead +leader +\d+ +- /m);
  expect(stdout).toMatch(/^nas +standby +\d+ +0ms /m);
  expect(stdout).toMatch(/^m1 +(leader|follower) +\d+ /m);
  const status = await cluster.cli("status");
  expect(status.stdout).toMatch(/^control +2 nodes: lead leads; nas stands by$/m);
});

it("misses a control node and an etcd member that died", async () => {
  await etcd.killMember(2);
  await seen(({ store }) => store.members?.find(({ name, state }) => name === "m2" && state === "away"));
  await other.kill();
  await seen((view) => (rowOf(view, "nas")?.state === "away" ? view : undefined));
  const problems = await until("the problems", async () => {
    const health = await cluster.client.health();
    return health.problems.some((text) => text.includes("m2")) && health.problems.some((text) => text.includes("nas"))
      ? health.problems
      : undefined;
  });
  expect(problems).toContain("1 of 2 control nodes is left.");
  expect(problems).toContain("2 of 3 etcd members are left: with one fewer nothing can be written.");
  const { stdout } = await cluster.cli("cluster");
  expect(stdout).toContain("There is one control node that can lead; nothing switches over when it dies.");
}, 60_000);
