/** One machine goes on alone with what its etcd has: A1 to A4 of etcd-alone.ts, over real members. */
import { rename, rm } from "node:fs/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { goOnAlone, type Alone } from "../../cluster/src/store/etcd-alone.ts";
import type { EtcdClient } from "../../cluster/src/store/etcd-client.ts";
import { openEtcdControlSeats } from "../../cluster/src/store/etcd-control-seats.ts";
import { announceMember } from "../../cluster/src/store/etcd-members.ts";
import { hasData } from "../../cluster/src/store/etcd-membership.ts";
import { placeMember } from "../../cluster/src/store/etcd-server.ts";
import { openEtcdStore } from "../../cluster/src/store/etcd.ts";
import { queued } from "../../cluster/src/store/store.fixtures.ts";
import { systemClock } from "../../cluster/src/system/clock.ts";
import { silentLog } from "../../cluster/src/system/log.ts";
import { openTestMembers, put, type TestMembers } from "../support/etcd-members.ts";

const PREFIX = "ocx/";
const TASKS = 300;
const WAIT = { timeout: 30_000, interval: 20 };

let etcd: TestMembers;
beforeEach(async () => {
  etcd = await openTestMembers();
  await etcd.start("a", { kind: "first" });
});
afterEach(() => etcd.stop());

const shared = (client: EtcdClient) => ({ client, prefix: PREFIX, log: silentLog, clock: systemClock });
const alone = async (name: string): Promise<Alone> => goOnAlone({ ...(await etcd.optionsOf(name)), prefix: PREFIX });

/** A store as a leader leaves it, and what machines have said of themselves beside it. Gives its term. */
async function fill(client: EtcdClient): Promise<number> {
  const store = await openEtcdStore(shared(client));
  const { epoch } = await store.claim();
  await store.commit({ epoch, created: Array.from({ length: TASKS / 2 }, (_, at) => queued(at + 1)) });
  await store.fold();
  await store.commit({ epoch, created: Array.from({ length: TASKS / 2 }, (_, at) => queued(TASKS / 2 + at + 1)) });
  await store.close();
  const seats = openEtcdControlSeats(shared(client));
  for (const node of ["a", "b"]) await seats.take({ node, route: { serverName: node, host: "127.0.0.1", port: 1 } });
  await seats.close();
  for (const key of ["leader", "control/a", "progress/a", "progress/b"]) await put(client, PREFIX + key);
  return epoch;
}

/** It only listens, and has everything. */
async function listen(): Promise<void> {
  const asked = etcd.client("a");
  const ticket = await announceMember(asked, await placeMember(await etcd.optionsOf("b")));
  const b = await etcd.start("b", { kind: "join", ticket });
  const { revision } = await asked.status();
  await expect.poll(async () => (await b.status()).revision, WAIT).toBeGreaterThanOrEqual(revision);
}

const stop = async (...names: string[]): Promise<void> => {
  for (const name of names) await etcd.servers.get(name)?.stop();
};

async function check({ epoch, lastKey, lost }: Alone, before: number): Promise<void> {
  expect(lost).toEqual(["a"]);
  const b = await etcd.start("b");
  await b.whenReady(WAIT.timeout);
  const client = etcd.client("b");
  expect((await client.members()).map(({ name, learner }) => [name, learner])).toEqual([["b", false]]);
  const store = await openEtcdStore(shared(client));
  const claim = await store.claim();
  expect(claim.epoch).toBe(epoch + 1);
  expect(epoch - before).toBeGreaterThan(30_000);
  const loaded = await store.load();
  expect([loaded.live.length, loaded.lastKey]).toEqual([TASKS, lastKey]);
  expect(lastKey).toBeGreaterThan(1e9);
  await store.commit({ epoch: claim.epoch, created: [queued(lastKey + 1)] });
  await store.close();
  const { entries } = await client.range({ from: PREFIX, to: "ocx0", keysOnly: true });
  const about = entries.map(({ key }) => key).filter((key) => /\/(seat|control|progress|leader)/.test(key));
  expect(about.filter((key) => !key.startsWith(`${PREFIX}progress/b`))).toEqual([`${PREFIX}seat/b`]);
}

test("A1: one that only listened goes on with all that it has heard, under the addresses at which the lost one is told that it is out", async () => {
  const before = await fill(etcd.client("a"));
  await listen();
  const { clientUrl } = etcd.servers.get("b") as { clientUrl: string };
  await stop("a", "b");
  const done = await alone("b");
  expect(done.setAside).toBeDefined();
  expect(await hasData(done.setAside as string)).toBe(true);
  await check(done, before);
  expect(etcd.servers.get("b")?.clientUrl).toBe(clientUrl);
  await expect(etcd.start("a")).rejects.toMatchObject({ name: "MemberRemoved" });
});

test("A1: one that has a vote goes on in its place", async () => {
  const before = await fill(etcd.client("a"));
  await etcd.add("b");
  await stop("a", "b");
  const done = await alone("b");
  expect(done.setAside).toBeUndefined();
  await check(done, before);
  await expect(etcd.start("a")).rejects.toMatchObject({ name: "MemberRemoved" });
});

test("where the others answer nothing is forced, and nothing changes", async () => {
  await fill(etcd.client("a"));
  await listen();
  await stop("b");
  await expect(alone("b")).rejects.toMatchObject({ code: "state_conflict" });
  await etcd.start("b");
  expect((await etcd.client("a").members()).map(({ name }) => name).toSorted()).toEqual(["a", "b"]);
});

test("A4: cut off between its two renames, or done already, the same again goes on", async () => {
  const before = await fill(etcd.client("a"));
  await listen();
  await stop("a", "b");
  const folder = etcd.folderOf("b");
  await alone("b");
  await rename(folder, `${folder}.alone`);
  const again = await alone("b");
  expect(again.epoch).toBeGreaterThan(before);
  await check({ ...again, lost: ["a"] }, before);
  await rm(`${folder}.alone`, { recursive: true, force: true });
});
