/** The managed nats-server: nodes come and go while it runs; it dies, loses its folder, loses its parent. */
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import { afterEach, expect, test } from "vitest";
import type { Bus } from "../../cluster/src/bus/bus.ts";
import { plainEnvelopes } from "../../cluster/src/bus/envelope-door.ts";
import { connectNats } from "../../cluster/src/bus/nats.ts";
import { watchAddresses } from "../../cluster/src/bus/nats-address.ts";
import { openConnection } from "../../cluster/src/bus/nats-connection.ts";
import { startNatsServer } from "../../cluster/src/bus/nats-server.ts";
import { heartbeatFrom, inboxOf, outputOf, reportFrom } from "../../cluster/src/bus/subjects.ts";
import { silentLog } from "../../cluster/src/system/log.ts";
import { createNodeKeys } from "../../cluster/src/trust/keys.ts";
import { natsIn, startTestNats, type TestNats } from "../support/nats.ts";

const [A, B] = ["a" as NodeId, "b" as NodeId];
const TASK = "t1" as TaskId;
const WAIT = { timeout: 15_000, interval: 10 };
const PARENT = join(dirname(fileURLToPath(import.meta.url)), "..", "support", "nats-parent.ts");

const cleanUp: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const step of cleanUp.splice(0).toReversed()) await step();
});

async function startNats(): Promise<TestNats> {
  const nats = await startTestNats();
  cleanUp.push(() => nats.stop());
  return nats;
}

async function emptyFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "ocx-nats-"));
  cleanUp.push(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    // No such process.
    return false;
  }
}

function statesOf(bus: Bus): boolean[] {
  const states: boolean[] = [];
  bus.onStatus((connected) => states.push(connected));
  return states;
}

test("a node is let in and shut out while others stay connected", async () => {
  const nats = await startNats();
  const a = await nats.connectAs(A);
  const statesOfA = statesOf(a);
  const keysOfB = createNodeKeys();
  const b = await nats.connectAs(B, keysOfB);
  const statesOfB = statesOf(b);
  await nats.revoke(B);
  await expect.poll(() => statesOfB, WAIT).toEqual([false]);
  await expect(
    connectNats({ urls: [nats.server.url], node: B, seed: keysOfB.seed, envelopes: plainEnvelopes(), log: silentLog }),
  ).rejects.toMatchObject({
    code: "unauthorized",
  });
  await expect(b.request(reportFrom(B), {}, 1_000)).rejects.toMatchObject({ code: "bus_unreachable" });
  // Let in again, it comes back by itself.
  await nats.connectAs(B, keysOfB);
  await expect.poll(() => statesOfB, WAIT).toEqual([false, true]);
  expect(statesOfA).toEqual([]);
  expect((await stat(join(nats.folder, "nats.conf"))).mode & 0o777).toBe(0o600);
});

test("a node's bad id or key changes nothing", async () => {
  const nats = await startNats();
  const a = await nats.connectAs(A);
  const before = await readFile(join(nats.folder, "nats.conf"), "utf8");
  const bad = { id: 'x", "y' as NodeId, publicKey: createNodeKeys().publicKey };
  await expect(nats.server.authorize([bad])).rejects.toMatchObject({ code: "config_invalid" });
  await expect(nats.server.authorize([{ id: A, publicKey: nats.coordinatorKeys.publicKey }])).rejects.toMatchObject({
    code: "config_invalid",
  });
  expect(await readFile(join(nats.folder, "nats.conf"), "utf8")).toBe(before);
  expect(a.connected).toBe(true);
});

test("the end of a node's last connection is told, an authorize of others is not taken for one", async () => {
  const nats = await startNats();
  const gone: NodeId[] = [];
  nats.server.onDisconnect((node) => gone.push(node));
  const keysOfA = createNodeKeys();
  const first = await nats.connectAs(A, keysOfA);
  const second = await nats.connectAs(A, keysOfA);
  const b = await nats.connectAs(B);
  await first.close();
  await b.close();
  await expect.poll(() => gone, WAIT).toEqual([B]);
  await second.close();
  await expect.poll(() => gone, WAIT).toEqual([B, A]);
});

test("kill -9 of the server: same port, everybody returns, a following reader misses nothing and gets nothing twice", async () => {
  const nats = await startNats();
  const a = await nats.connectAs(A);
  const coordinator = nats.coordinatorBus;
  coordinator.subscribe(reportFrom(A), ({ respond }) => respond?.("yes"));
  const end = new AbortController();
  const got: number[] = [];
  const reading = (async () => {
    for await (const { body } of coordinator.read(outputOf(A, TASK, 1), { follow: true, signal: end.signal }))
      got.push((body as { n: number }).n);
  })();
  const total = 60;
  const statesOfA = statesOf(a);
  const { url, pid } = nats.server;
  for (let n = 0; n < total; n += 1) {
    if (n === total / 2) process.kill(pid ?? Number.NaN, "SIGKILL");
    await a.append(outputOf(A, TASK, 1), { n });
  }
  await expect.poll(() => got.length, WAIT).toBe(total);
  expect(got).toEqual(Array.from({ length: total }, (_, n) => n));
  expect(statesOfA).toEqual([false, true]);
  expect(nats.server.url).toBe(url);
  expect(nats.server.pid).not.toBe(pid);
  await expect.poll(() => coordinator.connected, WAIT).toBe(true);
  expect(await a.request(reportFrom(A), {}, 5_000)).toBe("yes");
  // The reload goes to the new process.
  await nats.revoke(A);
  await expect.poll(() => a.connected, WAIT).toBe(false);
  end.abort();
  await reading;
});

test("a request that is under way when the server dies ends at once, not at its time-out", async () => {
  const nats = await startNats();
  const a = await nats.connectAs(A);
  const asked = Promise.withResolvers<void>();
  let probes = 0;
  nats.coordinatorBus.subscribe(reportFrom(A), ({ body }) => {
    if (body === "probe") probes += 1;
    else asked.resolve();
  });
  // Two connections have no common order: a request before the subscription is in force would find nobody.
  await expect.poll(() => (a.publish(reportFrom(A), "probe"), probes), WAIT).toBeGreaterThan(0);
  const answer = a.request(reportFrom(A), {}, 600_000).catch((error: unknown) => error);
  await asked.promise;
  process.kill(nats.server.pid ?? Number.NaN, "SIGKILL");
  expect(await answer).toMatchObject({ code: "bus_unreachable" });
});

test("the server dies and its folder is deleted: it starts again, with its nodes and empty streams, and reading goes on", async () => {
  const nats = await startNats();
  const a = await nats.connectAs(A);
  const end = new AbortController();
  const got: unknown[] = [];
  const reading = (async () => {
    for await (const { body } of nats.coordinatorBus.read(outputOf(A, TASK, 1), { follow: true, signal: end.signal })) got.push(body);
  })();
  for (let n = 0; n < 10; n += 1) await a.append(outputOf(A, TASK, 1), `before ${n}`);
  await expect.poll(() => got.length, WAIT).toBe(10);
  process.kill(nats.server.pid ?? Number.NaN, "SIGKILL");
  // Again where the server is back sooner.
  await rm(nats.folder, { recursive: true, force: true, maxRetries: 3 });
  await a.append(outputOf(A, TASK, 1), "after");
  await expect.poll(() => got.at(-1), WAIT).toBe("after");
  end.abort();
  await reading;
  await a.putBlob("a.t1.1", new Uint8Array(10));
  expect(await nats.coordinatorBus.getBlob("a.t1.1")).toHaveLength(10);
});

test.runIf(process.platform === "linux")("kill -9 of the parent: the kernel ends the server too", async () => {
  const folder = await emptyFolder();
  const parent = spawn(process.execPath, [PARENT, folder], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = await parent.stdout.take(1).toArray();
  const { pid } = JSON.parse(String(line)) as { pid: number };
  expect(isAlive(pid)).toBe(true);
  parent.kill("SIGKILL");
  await expect.poll(() => isAlive(pid), WAIT).toBe(false);
});

test("a server that outlived its daemon is ended at the next start, and its port is taken over", async () => {
  const folder = await emptyFolder();
  const options = await natsIn(folder);
  const first = await startNatsServer(options);
  await first.stop();
  const stale = spawn(options.binary, ["-c", join(folder, "nats.conf")], { stdio: "ignore" });
  const staleEnded = new Promise((resolve) => stale.once("exit", resolve));
  await writeFile(join(folder, "nats-server.pid"), `${stale.pid}\n`);
  const second = await startNatsServer(options);
  cleanUp.push(() => second.stop());
  await staleEnded;
  expect(second.url).toBe(first.url);
});

test("the pid file of a process that is something else does it no harm", async () => {
  const folder = await emptyFolder();
  const bystander = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore" });
  cleanUp.push(async () => bystander.kill("SIGKILL"));
  await writeFile(join(folder, "nats-server.pid"), `${bystander.pid}\n`);
  const server = await startNatsServer(await natsIn(folder));
  expect(bystander.exitCode ?? bystander.signalCode).toBeNull();
  await server.stop();
  expect(isAlive(bystander.pid ?? Number.NaN)).toBe(true);
});

test("a port that was asked for and is taken is an error; stop leaves no process behind", async () => {
  const nats = await startNats();
  const port = Number(new URL(nats.server.url).port);
  await expect(startNatsServer({ ...(await natsIn(await emptyFolder())), port })).rejects.toMatchObject({ code: "port_taken" });
  const server = await startNatsServer(await natsIn(await emptyFolder()));
  const { pid } = server;
  await server.stop();
  expect(isAlive(pid ?? Number.NaN)).toBe(false);
});

test("a program that is no nats-server is told by its last words, and nothing stays behind", async () => {
  const folder = await emptyFolder();
  const binary = join(folder, "nats-server");
  await writeFile(binary, "#!/bin/sh\necho 'I am not it' >&2\nexit 3\n", { mode: 0o755 });
  const starting = startNatsServer({ ...(await natsIn(join(folder, "data"))), binary });
  await expect(starting).rejects.toMatchObject({ code: "internal", detail: expect.stringContaining("I am not it") });
});

test("messages flow again after a restart without anybody subscribing anew", async () => {
  const nats = await startNats();
  const a = await nats.connectAs(A);
  let beats = 0;
  nats.coordinatorBus.subscribe(heartbeatFrom(A), () => (beats += 1));
  process.kill(nats.server.pid ?? Number.NaN, "SIGKILL");
  await expect.poll(() => a.connected, { timeout: 15_000, interval: 1 }).toBe(false);
  await expect
    .poll(() => {
      a.publish(heartbeatFrom(A), {});
      return beats;
    }, WAIT)
    .toBeGreaterThan(0);
});

test("after a change of this machine's addresses a connection that answers stays, one that does not is given up at once", async () => {
  const nats = await startNats();
  const keys = createNodeKeys();
  await nats.connectAs(A, keys);
  const options = { urls: [nats.server.url], seed: keys.seed, inboxPrefix: inboxOf(A), name: "a", log: silentLog };
  const connection = await openConnection(options);
  cleanUp.push(() => connection.close());
  const states: boolean[] = [];
  connection.onStatus((connected) => states.push(connected));
  let [addresses, asked] = [["100.64.0.1"], 0];
  const watched = {
    get connected() {
      return connection.connected;
    },
    nc: { rtt: () => ((asked += 1), connection.nc.rtt()), reconnect: () => connection.nc.reconnect() },
  };
  const watch = watchAddresses(watched, () => new Set(addresses));
  cleanUp.push(async () => watch.stop());
  addresses = ["100.64.0.1", "100.64.0.2"];
  await expect.poll(() => asked, WAIT).toBe(1);
  await connection.nc.rtt();
  expect(states).toEqual([]);

  const pid = nats.server.pid ?? Number.NaN;
  process.kill(pid, "SIGSTOP");
  try {
    const from = performance.now();
    addresses = ["100.64.0.3"];
    await expect.poll(() => states, WAIT).toEqual([false]);
    // Its unanswered pings would have told after 6 s.
    expect(performance.now() - from).toBeLessThan(5_000);
  } finally {
    process.kill(pid, "SIGCONT");
  }
  await expect.poll(() => states, WAIT).toEqual([false, true]);
});

test("a server that hangs is noticed by its silence, and taken up again when it wakes", async () => {
  const nats = await startNats();
  const a = await nats.connectAs(A);
  const states = statesOf(a);
  const pid = nats.server.pid ?? Number.NaN;
  process.kill(pid, "SIGSTOP");
  try {
    await expect.poll(() => states, WAIT).toEqual([false]);
    a.publish(heartbeatFrom(A), "lost");
    await expect(a.request(reportFrom(A), {}, 600_000)).rejects.toMatchObject({ code: "bus_unreachable" });
  } finally {
    process.kill(pid, "SIGCONT");
  }
  await expect.poll(() => states, WAIT).toEqual([false, true]);
});

test("a node that is shut out while the server hangs is out when it starts again, though it gave no answer", async () => {
  const nats = await startNats();
  const keysOfB = createNodeKeys();
  await nats.connectAs(A);
  await nats.connectAs(B, keysOfB);
  const pid = nats.server.pid ?? Number.NaN;
  process.kill(pid, "SIGSTOP");
  await expect(nats.revoke(B)).rejects.toMatchObject({ code: expect.stringMatching(/^bus_/) as string });
  process.kill(pid, "SIGKILL");
  const options = { urls: [nats.server.url], node: B, seed: keysOfB.seed, envelopes: plainEnvelopes(), log: silentLog };
  await expect(connectNats(options)).rejects.toMatchObject({ code: "unauthorized" });
});
