/** Keys and tokens are exchanged while a real cluster works: nothing that runs is disturbed, and what was before opens nothing. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { NodeId } from "@openclaw-cluster/contract/ids";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { afterAll, beforeAll, expect, test } from "vitest";
import { plainEnvelopes } from "../../cluster/src/bus/envelope-door.ts";
import { connectNats } from "../../cluster/src/bus/nats.ts";
import { silentLog } from "../../cluster/src/system/log.ts";
import { natsPortOf, runCommand } from "../../scripts/daemon.ts";
import { startCluster, until, untilOver, untilState, type TestCluster } from "../support/daemon.ts";
import { joinMember, type Member } from "../support/member.ts";

const WORKING = /✔ task .*ran here/;

let cluster: TestCluster;
let nas: Member;
beforeAll(async () => {
  cluster = await startCluster({ roles: ["coordinator", "worker"] });
  nas = await joinMember(cluster, "nas");
  await nas.joined.says(WORKING);
});
afterAll(async () => {
  await nas?.joined.end();
  await cluster?.end();
});

const seedIn = (home: string): Promise<string> => readFile(path.join(home, "node.seed"), "utf8");
const slow = (id: string): TaskSpec => ({ kind: "echo", input: { value: id, delayMs: 3_000 }, require: { nodes: [NodeId.parse(id)] } });
const connectedWith = async (node: string, seed: string): Promise<void> => {
  const urls = [`nats://127.0.0.1:${await natsPortOf(cluster.lead.home)}`];
  const bus = await connectNats({ urls, node: NodeId.parse(node), seed, envelopes: plainEnvelopes(), log: silentLog });
  await bus.close();
};

test.each(["nas", "lead"])(
  "%s: what runs goes on as the same attempt, the daemon works with the other key, the old one is refused",
  async (id) => {
    const home = id === "lead" ? cluster.lead.home : nas.home;
    const before = await seedIn(home);
    const running = await cluster.client.submit(slow(id));
    await untilState(cluster, running.id, "running");
    expect(await runCommand(["rotate", "--home", home]).ended()).toMatchObject({ code: 0 });
    expect(await seedIn(home)).not.toBe(before);
    await expect(connectedWith(id, before)).rejects.toMatchObject({ code: "unauthorized" });
    expect(await untilOver(cluster, running.id)).toMatchObject({ state: "succeeded", attempt: 1, node: id, result: id });
    expect(await cluster.client.run({ ...slow(id), input: { value: 2 } } as TaskSpec)).toMatchObject({ state: "succeeded", node: id });
    expect((await cluster.client.node({ id: NodeId.parse(id) })).state).toBe("ready");
  },
);

test("several times in a row, and over a restart of everything", async () => {
  for (let times = 0; times < 3; times++) expect((await nas.run("rotate").ended()).code).toBe(0);
  await cluster.lead.stop();
  await cluster.lead.start();
  for (const id of ["nas", "lead"]) {
    await until(`${id} is ready`, async () => ((await cluster.client.node({ id: NodeId.parse(id) })).state === "ready" ? true : undefined));
    expect(await cluster.client.run({ ...slow(id), input: { value: 3 } } as TaskSpec)).toMatchObject({ state: "succeeded", node: id });
  }
  const { stdout } = await cluster.cli("audit");
  expect(stdout.match(/node nas +node\.rotated +nas, U/g)).toHaveLength(4);
  expect((await cluster.cli("audit", "verify")).code).toBe(0);
});

test("a key that was made and never asked for stands in nobody's way", async () => {
  const seed = await seedIn(nas.home);
  await nas.joined.end("SIGTERM");
  const unasked = `${path.join(nas.home, "node.seed")}.next`;
  const crashed = runCommand(["rotate", "--home", nas.home], { env: { OPENCLAW_CLUSTER_CRASH_AT: "rotate.written" } });
  expect((await crashed.ended()).code).toBeNull();
  const next = await readFile(unasked, "utf8");
  const daemon = await cluster.startHome(nas.home, { env: { OPENCLAW_CLUSTER_OPENCLAW: "off" } });
  expect(await cluster.client.run({ ...slow("nas"), input: { value: 4 } } as TaskSpec)).toMatchObject({ state: "succeeded", node: "nas" });
  expect(await seedIn(nas.home)).toBe(seed);
  expect((await nas.run("rotate").ended()).code).toBe(0);
  expect(await seedIn(nas.home)).toBe(next);
  expect(await cluster.client.run({ ...slow("nas"), input: { value: 5 } } as TaskSpec)).toMatchObject({ state: "succeeded", node: "nas" });
  await daemon.stop();
});

test("a token: the old secret ends at once, or after its grace; the record stays", async () => {
  const made = (await cluster.cli("token", "create", "ci", "--scope", "viewer", "--json")).json as { id: string; token: string };
  const reads = async (token: string): Promise<number> =>
    (await cluster.ask({ path: "/api/v1/cluster", headers: { authorization: `Bearer ${token}` } })).status;
  const graced = (await cluster.cli("token", "rotate", made.id, "--grace", "60", "--json")).json as { id: string; token: string };
  expect([graced.id, await reads(made.token), await reads(graced.token)]).toEqual([made.id, 200, 200]);
  const last = (await cluster.cli("token", "rotate", made.id, "--json")).json as { token: string };
  expect([await reads(made.token), await reads(graced.token), await reads(last.token)]).toEqual([401, 401, 200]);
  await cluster.lead.stop();
  await cluster.lead.start();
  expect([await reads(graced.token), await reads(last.token)]).toEqual([401, 200]);
  expect((await cluster.cli("token", "--json")).json.tokens.filter((token: { id: string }) => token.id === made.id)).toHaveLength(1);
  // The administrator's own, in its file.
  const { id } = (await cluster.cli("token", "--json")).json.tokens.find(({ name }: { name: string }) => name === "admin") as {
    id: string;
  };
  expect((await cluster.cli("token", "rotate", id)).code).toBe(0);
  expect((await cluster.cli("nodes")).code).toBe(0);
});
