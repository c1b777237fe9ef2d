/** Nats-servers that were alone become one cluster and are alone again: what was kept, who was connected, and what goes wrong on the way. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import { afterEach, beforeEach, expect, test } from "vitest";
import { plainEnvelopes } from "../../cluster/src/bus/envelope-door.ts";
import { connectNats, type NatsBus } from "../../cluster/src/bus/nats.ts";
import { openChangingServer, type ChangingServer, type NatsMembership } from "../../cluster/src/bus/nats-changing-server.ts";
import { openConnection } from "../../cluster/src/bus/nats-connection.ts";
import type { NatsServerOptions } from "../../cluster/src/bus/nats-server.ts";
import { outputStream } from "../../cluster/src/bus/nats-streams.ts";
import { blobName, COORDINATOR_INBOX, outputOf } from "../../cluster/src/bus/subjects.ts";
import { systemClock } from "../../cluster/src/system/clock.ts";
import { silentLog } from "../../cluster/src/system/log.ts";
import { createNodeKeys } from "../../cluster/src/trust/keys.ts";
import { makeAuthority } from "../support/authority.ts";
import { natsBinary } from "../support/nats.ts";
import { freePort, PASSWORD } from "../support/nats-cluster.ts";

const [A, B] = ["a" as NodeId, "b" as NodeId];
const TASK = "t1" as TaskId;
const OUTPUT = outputOf(A, TASK, 1);
const BLOB = blobName(A, TASK, 1);
const HOST = "127.0.0.1";
const WAIT = { timeout: 40_000, interval: 50 };

const authority = makeAuthority();
const lead = createNodeKeys();
const keys = createNodeKeys();
const keysOfB = createNodeKeys();
const nodes = [{ id: A, publicKey: keys.publicKey }];

let root: string;
let ports: number[];
let servers: ChangingServer[];
let buses: NatsBus[];
/** As the coordinator wants them. */
let copies: number;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "ocx-changing-"));
  ports = await Promise.all([0, 1, 2].map(() => freePort()));
  [servers, buses, copies] = [[], [], 1];
});
afterEach(async () => {
  await Promise.all(buses.map((bus) => bus.close()));
  await Promise.all(servers.map((server) => server.stop()));
  await rm(root, { recursive: true, force: true });
});

async function open(i: number, more: Partial<NatsServerOptions> = {}): Promise<ChangingServer> {
  const parts = {
    binary: await natsBinary(),
    folder: join(root, `n${i}`),
    port: 0,
    coordinator: lead,
    nodes,
    log: silentLog,
    clock: systemClock,
  };
  const { cluster: _, ...rest } = { ...parts, ...more };
  const server = await openChangingServer(rest);
  servers.push(server);
  return server;
}

function membership(i: number): NatsMembership {
  const routes = ports.filter((_, other) => other !== i).map((port) => ({ host: HOST, port }));
  const certificate = authority.certifyPeer([HOST], Date.now());
  return { name: "ocx", host: HOST, port: ports[i] as number, routes, password: PASSWORD, certificate };
}

async function connect(urls: readonly string[], node?: NodeId, seed = keys.seed): Promise<NatsBus> {
  const common = { urls, envelopes: plainEnvelopes(), log: silentLog };
  const its = node === undefined ? { seed: lead.seed, prefersFirst: true, replicas: () => copies } : { node, seed };
  const bus = await connectNats({ ...common, ...its });
  buses.push(bus);
  return bus;
}

async function kept(bus: NatsBus): Promise<unknown[]> {
  const bodies: unknown[] = [];
  for await (const { body } of bus.read(OUTPUT, { follow: false })) bodies.push(body);
  return bodies;
}

/** The servers that hold all of it. */
async function holders(at: ChangingServer): Promise<string[]> {
  const options = { urls: [at.url], seed: lead.seed, inboxPrefix: COORDINATOR_INBOX, name: "probe", log: silentLog };
  const probe = await openConnection(options);
  try {
    const manager = await jetstreamManager(probe.nc, { checkAPI: false });
    const { cluster } = await manager.streams.info(outputStream(A));
    const whole = (cluster?.replicas ?? []).filter(({ current, offline }) => current && offline !== true);
    return cluster?.leader === undefined ? [] : [cluster.leader, ...whole.map(({ name }) => name)].toSorted();
  } catch {
    return [];
  } finally {
    await probe.close();
  }
}

const urls = (): string[] => servers.map(({ url }) => url);
const names = (): string[] => servers.map(({ serverName }) => serverName).toSorted();

test("three that were alone become one with the streams of the one that leads, and are alone again, and one once more", async () => {
  for (const i of [0, 1, 2]) await open(i);
  const [first, second] = servers as [ChangingServer, ChangingServer];
  // Led before, and has other pieces under the same name, which are not mixed with those that count.
  const former = await connect([second.url]);
  const there = await connect([second.url], A);
  await former.keepFor([A]);
  for (const word of ["former 1", "former 2", "former 3"]) await there.append(OUTPUT, word);
  await Promise.all([former.close(), there.close()]);

  const gone: NodeId[] = [];
  first.onDisconnect((node) => gone.push(node));
  const coordinator = await connect([first.url]);
  const a = await connect([first.url], A);
  await coordinator.keepFor([A]);
  const bytes = Buffer.alloc(200_000, 7);
  await a.append(OUTPUT, "alone");
  await a.putBlob(BLOB, bytes);
  const said = ["alone"];
  const say = async (word: string): Promise<void> => {
    await a.append(OUTPUT, word);
    said.push(word);
  };
  const blob = async (): Promise<boolean> => bytes.equals((await coordinator.getBlob(BLOB)) ?? Buffer.alloc(0));

  const [url, name] = [first.url, first.serverName];
  for (const round of ["first", "second"]) {
    copies = 3;
    for (const server of servers) await server.authorize(nodes);
    const changed = Promise.all(servers.map((server, i) => server.become(membership(i))));
    // Asked meanwhile.
    const authorized = first.authorize([...nodes, { id: B, publicKey: keysOfB.publicKey }]);
    const appended = say(`while it becomes one of several, the ${round} time`);
    await changed;
    for (const bus of [coordinator, a]) bus.reach(urls());
    await appended;
    expect(await kept(coordinator)).toEqual(said);
    await expect.poll(() => holders(first), WAIT).toEqual(names());
    expect(await blob()).toBe(true);
    await authorized;
    await (await connect([first.url], B, keysOfB.seed)).close();
    await expect.poll(() => first.isConnected(A), WAIT).toBe(true);

    // What was brought along is everywhere.
    process.kill(first.pid as number, "SIGKILL");
    await say(`without the ${round}`);
    expect(await kept(coordinator)).toEqual(said);
    expect(await blob()).toBe(true);
    await expect.poll(() => holders(first), WAIT).toEqual(names());

    // Said before it is so, and said again: nothing is taken from the copies.
    copies = 1;
    coordinator.reach(urls());
    await coordinator.keepFor([A]);
    for (const server of servers.slice(1)) {
      // A lone one keeps what it is given, and nobody would read it there.
      await server.authorize([]);
      await server.become(undefined);
      const own = await connect([server.url]);
      await own.keepFor([A]);
      expect(await kept(own)).toEqual(said);
      await own.close();
    }
    await first.become(undefined);
    for (const bus of [coordinator, a]) bus.reach([first.url]);
    await say(`alone after the ${round}`);
    expect(await kept(coordinator)).toEqual(said);
    expect(await blob()).toBe(true);
    expect(await holders(first)).toHaveLength(1);
  }
  expect(first.url).toBe(url);
  // No name comes a second time.
  expect(first.serverName).not.toBe(name);
  gone.length = 0;
  await expect.poll(() => first.isConnected(A), WAIT).toBe(true);
  await a.close();
  await expect.poll(() => gone, WAIT).toEqual([A]);
}, 240_000);

test("a coordinator that lands on another server than its own waits for that one, whose streams count", async () => {
  for (const i of [0, 1, 2]) await open(i);
  const [first, ...others] = servers as [ChangingServer, ...ChangingServer[]];
  const coordinator = await connect([first.url]);
  const a = await connect([first.url], A);
  await coordinator.keepFor([A]);
  await a.append(OUTPUT, "alone");
  copies = 3;
  coordinator.reach(urls());
  await Promise.all(others.map((server, i) => server.become(membership(i + 1))));
  // Two of three are enough to lead all, and to make streams.
  const isOnOther = async (): Promise<boolean> => coordinator.connected && coordinator.server !== new URL(first.url).host;
  const changed = first.become(membership(0));
  await expect.poll(isOnOther, WAIT).toBe(true);
  await changed;
  a.reach(urls());
  await a.append(OUTPUT, "one of several");
  expect(await kept(coordinator)).toEqual(["alone", "one of several"]);
  await expect.poll(() => holders(first), WAIT).toEqual(names());
}, 120_000);

test("where the program does not start as one of several, it goes on as it was; and where it does not start at all, as soon as it can", async () => {
  const binary = join(root, "nats-server");
  const program = async (refuses: string): Promise<void> =>
    writeFile(binary, `#!/bin/sh\n[ "$1" = -c ] && ${refuses} && exit 3\nexec '${await natsBinary()}' "$@"\n`, { mode: 0o755 });
  await program(`grep -q '^cluster' "$2"`);
  const server = await open(0, { binary });
  const coordinator = await connect([server.url]);
  const a = await connect([server.url], A);
  await coordinator.keepFor([A]);
  await a.append(OUTPUT, "before");
  const failing = server.become(membership(0));
  const authorized = server.authorize([...nodes, { id: B, publicKey: keysOfB.publicKey }]);
  await expect(failing).rejects.toMatchObject({ code: "internal" });
  await authorized;
  await a.append(OUTPUT, "after");
  expect(await kept(coordinator)).toEqual(["before", "after"]);
  expect(server.present.cluster).toBeUndefined();
  await (await connect([server.url], B, keysOfB.seed)).close();

  await program("true");
  await expect(server.become(membership(0))).rejects.toMatchObject({ code: "internal" });
  expect(server.pid).toBeUndefined();
  await expect(server.authorize(nodes)).rejects.toMatchObject({ code: "bus_unreachable" });
  await program("false");
  await expect.poll(() => server.pid, WAIT).toBeDefined();
  await a.append(OUTPUT, "later");
  expect(await kept(coordinator)).toEqual(["before", "after", "later"]);
  await expect(connect([server.url], B, keysOfB.seed)).rejects.toMatchObject({ code: "unauthorized" });
}, 120_000);

test("what is wrong from the first is refused, and nobody loses the connection; neither where only the routes differ", async () => {
  const server = await open(0);
  const a = await connect([server.url], A);
  const changes: boolean[] = [];
  a.onStatus((connected) => changes.push(connected));
  const good = membership(0);
  await expect(server.become({ ...good, password: "short" })).rejects.toMatchObject({ code: "config_invalid" });
  const taken: Server = createServer().listen(good.port, HOST);
  await expect.poll(() => taken.listening, WAIT).toBe(true);
  await expect(server.become(good)).rejects.toMatchObject({ code: "port_taken" });
  await new Promise((resolve) => taken.close(resolve));
  await server.become(undefined);
  expect(changes).toEqual([]);

  await server.become(good);
  await expect.poll(() => changes, WAIT).toEqual([false, true]);
  const [route] = good.routes;
  await server.become({ ...good, routes: route === undefined ? [] : [route] });
  await server.authorize([...nodes, { id: B, publicKey: keysOfB.publicKey }]);
  expect(server.present.cluster?.routes).toEqual([route]);
  expect(changes).toEqual([false, true]);
  await server.stop();
  await expect(server.become(undefined)).rejects.toMatchObject({ code: "unavailable" });
}, 120_000);
