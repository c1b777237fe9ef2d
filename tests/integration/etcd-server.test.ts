/** Real members of etcd on the loopback: they become three, and lose one in every way, while a writer counts on. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { EtcdFault, type EtcdClient } from "../../cluster/src/store/etcd-client.ts";
import { announceMember, handOver, promoteMember, removeMember, replaceMember, seeMembers } from "../../cluster/src/store/etcd-members.ts";
import { placeMember, recoverAlone, startEtcdServer, type EtcdServer } from "../../cluster/src/store/etcd-server.ts";
import { openTestMembers, put, type TestMembers } from "../support/etcd-members.ts";

/** Of a machine with two cores that is busy with other tests too; what it really takes stands in docs/decisions/0015-etcd-server.md. */
const WAIT = { timeout: 30_000, interval: 20 };
/** What the whole cluster promises after a coordinator's crash, and after its hang; etcd's part of it is measured on that page too. */
const AFTER_CRASH = { timeout: 10_000, interval: 5 };
const AFTER_HANG = { timeout: 15_000, interval: 5 };
const WRITES_EACH_WAY = 40;

let etcd: TestMembers;
beforeAll(async () => {
  etcd = await openTestMembers();
});
afterAll(() => etcd?.stop());

const leaderOf = async (client: EtcdClient): Promise<EtcdServer> => {
  const { leader } = await client.status();
  return [...etcd.servers.values()].find(({ member }) => member === leader) as EtcdServer;
};
const nameOf = (server: EtcdServer): string => [...etcd.servers].find(([, one]) => one === server)?.[0] ?? "";
const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    // No such process.
    return false;
  }
};

/** Writes one key after the other, each of them once, as the store does: by a condition. */
class Writer {
  readonly acked: string[] = [];
  private stopped = false;
  private running: Promise<void> = Promise.resolve();
  readonly client: EtcdClient;

  constructor(client: EtcdClient, prefix: string) {
    this.client = client;
    this.running = this.writeAll(prefix);
  }

  private async writeAll(prefix: string): Promise<void> {
    for (let n = 0; !this.stopped; n += 1) {
      const key = `${prefix}/${String(n).padStart(6, "0")}`;
      await this.write(key);
      this.acked.push(key);
    }
  }

  private async write(key: string): Promise<void> {
    for (;;) {
      try {
        const before = this.acked.at(-1);
        const chain = before === undefined ? [] : [{ key: before, exists: true }];
        const when = [{ key, exists: false }, ...chain];
        const { held, found } = await put(this.client, key, { when, timeoutMs: 1_000 });
        // Not held: an earlier try of this very key happened after all.
        if (held || found[0] !== undefined) return;
        throw new Error(`what was answered before ${key} is gone`);
      } catch (error) {
        if (!(error instanceof EtcdFault)) throw error;
      }
    }
  }

  /** One that is under way now may be answered yet by who is gone. */
  async next(within: typeof WAIT): Promise<void> {
    const before = this.acked.length + 1;
    await expect.poll(() => this.acked.length, within).toBeGreaterThan(before);
  }

  async more(): Promise<void> {
    const before = this.acked.length + WRITES_EACH_WAY;
    await expect.poll(() => this.acked.length, WAIT).toBeGreaterThan(before);
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await this.running;
    const kept = new Set((await this.client.range({ from: "w", to: "x", keysOnly: true })).entries.map(({ key }) => key));
    expect(this.acked.filter((key) => !kept.has(key))).toEqual([]);
  }
}

test("one begins, two more listen first and then vote", async () => {
  await etcd.start("a", { kind: "first" });
  await put(etcd.client("a"), "early", { value: "kept" });
  await etcd.add("b");
  await etcd.add("c");
  const seen = await seeMembers(etcd.client());
  expect(seen.map(({ name, learner }) => `${name} ${learner}`).toSorted()).toEqual(["a", "b", "c"].map((name) => `${name} false`));
  expect(new Set(seen.map(({ status }) => status?.leader)).size).toBe(1);
  const { entries } = await etcd.client("c").range({ from: "early", to: "earlz", local: true });
  expect(entries.map(({ value }) => value.toString())).toEqual(["kept"]);
});

test("kill -9 of the leader: the writer goes on, and nothing that was answered is lost", async () => {
  const writer = new Writer(etcd.client(), "w1");
  await writer.more();
  const killed = await leaderOf(writer.client);
  const pid = killed.pid as number;
  process.kill(pid, "SIGKILL");
  await writer.next(AFTER_CRASH);
  await expect.poll(() => killed.pid !== undefined && killed.pid !== pid, WAIT).toBe(true);
  await killed.whenReady(WAIT.timeout);
  await writer.more();
  await writer.stop();
  expect((await killed.status()).leader).not.toBe(killed.member);
});

test("SIGSTOP of the leader: another leads; awake again it follows", async () => {
  const writer = new Writer(etcd.client(), "w2");
  await writer.more();
  const stopped = await leaderOf(writer.client);
  process.kill(stopped.pid as number, "SIGSTOP");
  try {
    await writer.next(AFTER_HANG);
    await writer.more();
  } finally {
    process.kill(stopped.pid as number, "SIGCONT");
  }
  const { leader } = await writer.client.status();
  expect(leader).not.toBe(stopped.member);
  await expect.poll(async () => (await stopped.status().catch(() => undefined))?.leader, WAIT).toBe(leader);
  await writer.stop();
});

test("a planned stop hands the leadership over, and the member comes back as itself, at its addresses", async () => {
  const writer = new Writer(etcd.client(), "w3");
  await writer.more();
  const leader = await leaderOf(writer.client);
  const [name, pid] = [nameOf(leader), leader.pid as number];
  await leader.stop();
  expect(isAlive(pid)).toBe(false);
  await writer.more();
  const again = await etcd.start(name);
  expect([again.member, again.clientUrl, again.peerUrl]).toEqual([leader.member, leader.clientUrl, leader.peerUrl]);
  await writer.stop();
});

test("all of them stopped: the first that comes back waits for a second, and both go on", async () => {
  await Promise.all([...etcd.servers.values()].map((server) => server.stop()));
  const a = await etcd.start("a");
  await expect(a.whenReady(0)).rejects.toMatchObject({ code: "unavailable" });
  const b = await etcd.start("b");
  expect((await b.whenReady(WAIT.timeout)).leader).toBe((await a.whenReady(WAIT.timeout)).leader);
  await etcd.start("c");
});

test.runIf(process.platform === "linux")("a member whose machine has another address tells the others", async () => {
  const host = "127.0.0.2";
  await (etcd.servers.get("b") as EtcdServer).stop();
  const certificates = etcd.authority.etcd.certifyMember([host], Date.now());
  const moved = await startEtcdServer(await etcd.optionsOf("b", { host, certificates }));
  const seen = async (): Promise<unknown> => (await seeMembers(etcd.client("a"))).find(({ name }) => name === "b");
  await expect.poll(seen, WAIT).toMatchObject({ id: moved.member, peerUrls: [moved.peerUrl], clientUrls: [moved.clientUrl], status: {} });
  expect(moved.peerUrl).toContain(host);
  await moved.stop();
  await etcd.start("b");
  await expect.poll(seen, WAIT).toMatchObject({ peerUrls: [expect.stringContaining("127.0.0.1") as string], status: {} });
});

test("what would cost the majority is refused", async () => {
  const client = etcd.client();
  const [a, b, c] = ["a", "b", "c"].map((name) => etcd.servers.get(name) as EtcdServer) as [EtcdServer, EtcdServer, EtcdServer];
  await b.stop();
  await expect(announceMember(client, { name: "d", peerUrl: "https://127.0.0.1:9" })).rejects.toMatchObject({
    code: "state_conflict",
    detail: expect.stringContaining(`etcd member ${b.member} (b) does not answer`) as string,
  });
  await expect(removeMember(client, c.member as string)).rejects.toMatchObject({
    code: "state_conflict",
    detail: expect.stringContaining("only 1 of 2 would answer") as string,
  });
  await etcd.start("b");
  expect((await seeMembers(client)).map(({ id }) => id).toSorted()).toEqual([a, b, c].map(({ member = "" }) => member).toSorted());
});

test("a member whose disk is gone does not start as itself, and is replaced", async () => {
  const client = etcd.client("a", "b");
  const former = etcd.servers.get("c") as EtcdServer;
  await former.stop();
  await rm(`${etcd.folderOf("c")}/data`, { recursive: true });
  await expect(etcd.start("c")).rejects.toMatchObject({
    code: "state_conflict",
    detail: expect.stringContaining("is gone from this machine") as string,
  });
  await rm(etcd.folderOf("c"), { recursive: true });
  const stale = { kind: "join", ticket: { member: former.member as string, initialCluster: `c=${former.peerUrl}` } } as const;
  await expect(etcd.start("c", stale)).rejects.toMatchObject({
    code: "state_conflict",
    detail: expect.stringContaining("is gone from this machine") as string,
  });
  const place = await placeMember(await etcd.optionsOf("c"));
  const ticket = await replaceMember(client, former.member as string, place);
  expect(await announceMember(client, place)).toEqual(ticket);
  const server = await etcd.start("c", { kind: "join", ticket });
  await promoteMember(client, ticket.member);
  await promoteMember(client, ticket.member);
  expect(server.member).not.toBe(former.member);
  const { entries } = await etcd.client("c").range({ from: "early", to: "earlz" });
  expect(entries).toHaveLength(1);
});

test("one that is removed while it runs ends for good; one that was removed while it was away does not start", async () => {
  const client = etcd.client("a", "b");
  const c = etcd.servers.get("c") as EtcdServer;
  await removeMember(client, c.member as string);
  await removeMember(client, c.member as string);
  expect(await c.removed).toMatchObject({ code: "state_conflict" });
  expect(c.pid).toBeUndefined();
  await c.stop();
  await expect(etcd.start("c")).rejects.toMatchObject({ name: "MemberRemoved" });
  await rm(etcd.folderOf("c"), { recursive: true });
  await etcd.add("c");
  const away = etcd.servers.get("b") as EtcdServer;
  await away.stop();
  await removeMember(etcd.client("a", "c"), away.member as string);
  await expect(etcd.start("b")).rejects.toMatchObject({ name: "MemberRemoved" });
  await rm(etcd.folderOf("b"), { recursive: true });
  await etcd.add("b");
});

test("its data deleted under it, a member stays down", async () => {
  const client = etcd.client("a", "b");
  const c = etcd.servers.get("c") as EtcdServer;
  await handOver(client, c);
  await rm(`${etcd.folderOf("c")}/data`, { recursive: true });
  process.kill(c.pid as number, "SIGKILL");
  await expect.poll(() => c.pid, WAIT).toBeUndefined();
  await expect.poll(async () => (await seeMembers(client)).find(({ id }) => id === c.member)?.status, WAIT).toBeUndefined();
  await c.stop();
  await rm(etcd.folderOf("c"), { recursive: true });
  const ticket = await replaceMember(client, c.member as string, await placeMember(await etcd.optionsOf("c")));
  await etcd.start("c", { kind: "join", ticket });
  await promoteMember(client, ticket.member);
});

test("the last one of a lost majority goes on alone when it is told to, and grows again", async () => {
  const [a, b, c] = ["a", "b", "c"].map((name) => etcd.servers.get(name) as EtcdServer) as [EtcdServer, EtcdServer, EtcdServer];
  const options = await etcd.optionsOf("a");
  await a.stop();
  await expect(recoverAlone(options)).rejects.toMatchObject({
    code: "state_conflict",
    detail: expect.stringContaining("nothing needs to be forced") as string,
  });
  await Promise.all([b.stop(), c.stop()]);
  await recoverAlone(options);
  await etcd.start("a");
  const client = etcd.client("a");
  expect((await seeMembers(client)).map(({ name }) => name)).toEqual(["a"]);
  expect((await client.range({ from: "early", to: "earlz" })).entries).toHaveLength(1);
  // A lost one that comes back all the same.
  await expect(etcd.start("b")).rejects.toMatchObject({ name: "MemberRemoved" });
  await rm(etcd.folderOf("b"), { recursive: true });
  await etcd.add("b");
  await expect(removeMember(client, a.member as string)).resolves.toBeUndefined();
});

test("one that a killed daemon has left behind is ended before its ports are looked at: they stay", async () => {
  const options = await etcd.optionsOf("left", { beginning: { kind: "first" } });
  const first = await startEtcdServer(options);
  const [program = "", ...argv] = (await readFile(`/proc/${first.pid}/cmdline`, "utf8")).split("\0").slice(0, -1);
  await first.stop();
  const stale = spawn(program, argv, { stdio: "ignore" });
  const ended = once(stale, "exit");
  await expect.poll(() => fetch(first.clientUrl).catch((error: Error) => String(error.cause)), WAIT).toMatch(/certificate|ssl|tls/i);
  await writeFile(join(options.folder, "etcd.pid"), `${stale.pid}\n`);
  const { clientUrl, peerUrl } = await placeMember(options);
  expect([clientUrl, peerUrl]).toEqual([first.clientUrl, first.peerUrl]);
  await ended;
});

test("a program that is no etcd is told by its last words", async () => {
  const options = await etcd.optionsOf("x", { beginning: { kind: "first" } });
  await expect(startEtcdServer({ ...options, binary: "/bin/false" })).rejects.toMatchObject({ code: "internal" });
});
