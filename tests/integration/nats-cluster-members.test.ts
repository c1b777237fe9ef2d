/** Which servers make up the cluster of nats-servers: one is exchanged, strangers are refused, one that was alone becomes one of three. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { jetstreamManager } from "@nats-io/jetstream";
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import { afterAll, beforeAll, expect, test } from "vitest";
import { plainEnvelopes } from "../../cluster/src/bus/envelope-door.ts";
import { connectNats, type NatsBus } from "../../cluster/src/bus/nats.ts";
import { openConnection, type Connection } from "../../cluster/src/bus/nats-connection.ts";
import { startNatsServer, type NatsServer } from "../../cluster/src/bus/nats-server.ts";
import { outputStream } from "../../cluster/src/bus/nats-streams.ts";
import { COORDINATOR_INBOX, outputOf } from "../../cluster/src/bus/subjects.ts";
import { silentLog } from "../../cluster/src/system/log.ts";
import type { ServerCertificate } from "../../cluster/src/trust/authority.ts";
import { createNodeKeys } from "../../cluster/src/trust/keys.ts";
import { makeAuthority } from "../support/authority.ts";
import { natsIn } from "../support/nats.ts";
import { freePort, PASSWORD, startTestCluster, type TestCluster, type TestMember } from "../support/nats-cluster.ts";

const A = "a" as NodeId;
const TASK = "t1" as TaskId;
const HOST = "127.0.0.1";
const WAIT = { timeout: 40_000, interval: 50 };

let cluster: TestCluster;
let coordinator: NatsBus;
let a: NatsBus;
let probe: Connection;
beforeAll(async () => {
  cluster = await startTestCluster();
  coordinator = await cluster.coordinatorAt(0);
  await cluster.letIn(A, coordinator);
  a = await cluster.connectAs(A, 1);
  probe = await probeOf(cluster.urls(1), cluster.coordinatorKeys.seed);
});
afterAll(async () => {
  await probe?.close();
  await cluster?.stop();
});

const probeOf = (urls: string[], seed: Uint8Array): Promise<Connection> =>
  openConnection({ urls, seed, inboxPrefix: COORDINATOR_INBOX, name: "probe", log: silentLog });

/** The servers that hold all of it. */
async function holders(nc: Connection["nc"], stream: string): Promise<string[]> {
  const manager = await jetstreamManager(nc, { checkAPI: false });
  const cluster = await manager.streams.info(stream).then(
    (info) => info.cluster,
    () => undefined,
  );
  if (cluster?.leader === undefined) return [];
  const whole = (cluster.replicas ?? []).filter(({ current, offline }) => current && offline !== true);
  return [cluster.leader, ...whole.map(({ name }) => name)].toSorted();
}

async function kept(bus: NatsBus): Promise<unknown[]> {
  const bodies: unknown[] = [];
  for await (const { body } of bus.read(outputOf(A, TASK, 1), { follow: false })) bodies.push(body);
  return bodies;
}

/** Speaks as a server would that calls another: "welcome", or "refused" in whatever way. */
function call(port: number, shown: ServerCertificate | undefined, password: string): Promise<"welcome" | "refused"> {
  const { promise, resolve } = Promise.withResolvers<"welcome" | "refused">();
  const words = { user: "route", pass: password, tls_required: true, name: "caller", cluster: "ocx", verbose: false, pedantic: false };
  const socket = connect({ port, host: HOST, ca: cluster.authority.certificate, ...(shown && { cert: shown.chain, key: shown.key }) });
  let heard = "";
  socket.once("secureConnect", () => socket.write(`CONNECT ${JSON.stringify(words)}\r\nPING\r\n`));
  socket.on("data", (chunk: Buffer) => {
    heard += chunk.toString();
    if (heard.includes("-ERR")) resolve("refused");
    else if (heard.includes("PONG")) resolve("welcome");
  });
  for (const end of ["error", "close"]) socket.once(end, () => resolve("refused"));
  return promise.finally(() => socket.destroy());
}

test("a route takes who shows the authority's certificate for callers and says the password, and nobody else", async () => {
  const { port } = cluster.members[0]!.route;
  const [now, other] = [Date.now(), makeAuthority()];
  const ours = cluster.authority.certifyPeer([HOST], now);
  expect(await call(port, ours, PASSWORD)).toBe("welcome");
  expect(await call(port, ours, "q".repeat(PASSWORD.length))).toBe("refused");
  expect(await call(port, undefined, PASSWORD)).toBe("refused");
  expect(await call(port, other.certifyPeer([HOST], now), PASSWORD)).toBe("refused");
  // An API's or a client port's, which other machines' daemons hold.
  expect(await call(port, cluster.authority.certify([HOST], now), PASSWORD)).toBe("refused");
});

test("a client hears of no server but the one that it is connected to", () => {
  expect(probe.nc.info?.cluster).toBe("ocx");
  expect(probe.nc.info?.connect_urls ?? []).toEqual([]);
});

test("a server that is gone for good is replaced by another: nobody who is connected notices, and every stream has three copies again", async () => {
  await a.append(outputOf(A, TASK, 1), "before");
  await expect.poll(() => holders(probe.nc, outputStream(A)), WAIT).toEqual(["ocx-n1", "ocx-n2", "ocx-n3"]);
  const changes: boolean[] = [];
  for (const bus of [coordinator, a]) bus.onStatus((connected) => changes.push(connected));
  const [lost] = cluster.members.splice(2, 1) as [TestMember];
  await lost.server.stop();
  await cluster.add("ocx-n4");
  await cluster.regroup();
  for (const bus of [coordinator, a]) bus.reach(cluster.urls());
  await expect
    .poll(
      () =>
        cluster.members[0]!.server.removePeer(lost.name).then(
          () => true,
          () => false,
        ),
      WAIT,
    )
    .toBe(true);
  await expect.poll(() => holders(probe.nc, outputStream(A)), WAIT).toEqual(["ocx-n1", "ocx-n2", "ocx-n4"]);
  // To ask again does no harm.
  await cluster.members[1]!.server.removePeer(lost.name);
  await a.append(outputOf(A, TASK, 1), "after");
  expect(changes).toEqual([]);
  expect(await kept(coordinator)).toEqual(["before", "after"]);
  // The new one carries its share, as where another one dies.
  process.kill(cluster.members[1]!.server.pid as number, "SIGKILL");
  await a.append(outputOf(A, TASK, 1), "later");
  expect(await kept(coordinator)).toEqual(["before", "after", "later"]);
});

test("routes show another certificate from the next call on, and those that are there stay", async () => {
  const [first] = cluster.members as [TestMember];
  const next = cluster.authority.certifyPeer([HOST], Date.now());
  await first.server.regroup({ certificate: next });
  expect(await call(first.route.port, next, PASSWORD)).toBe("welcome");
  await a.append(outputOf(A, TASK, 2), "over the route that was there");
});

test("a server that was alone brings its streams into a cluster, and out of it again", async () => {
  const folder = await mkdtemp(join(tmpdir(), "ocx-grow-"));
  const keys = createNodeKeys();
  const options = { ...(await natsIn(join(folder, "n1"))), nodes: [{ id: A, publicKey: keys.publicKey }] };
  const { coordinator: lead } = options as unknown as { coordinator: { seed: Uint8Array } };
  const names = ["ocx-n1", "ocx-n2", "ocx-n3"];
  const ports = await Promise.all(names.map(() => freePort()));
  const authority = makeAuthority();
  const oneOfThree = (i: number): Promise<NatsServer> => {
    const routes = ports.filter((_, other) => other !== i).map((port) => ({ host: HOST, port }));
    const own = { name: "ocx", serverName: names[i] as string, host: HOST, port: ports[i] as number, routes, password: PASSWORD };
    return startNatsServer({
      ...{ ...options, folder: join(folder, `n${i + 1}`) },
      cluster: { ...own, certificate: authority.certifyPeer([HOST], Date.now()) },
    });
  };
  /** What is kept, with this said after it. */
  const say = async (servers: NatsServer[], word: string, replicas: number): Promise<unknown[]> => {
    const more = { urls: servers.map(({ url }) => url), envelopes: plainEnvelopes(), log: silentLog, prefersFirst: true };
    const bus = await connectNats({ ...more, seed: lead.seed, replicas: () => replicas });
    const node = await connectNats({ ...more, seed: keys.seed, node: A });
    try {
      await bus.keepFor([A]);
      await node.append(outputOf(A, TASK, 1), word);
      return await kept(bus);
    } finally {
      await node.close();
      await bus.close();
    }
  };
  let servers: NatsServer[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(servers.map((server) => server.stop()));
  };
  try {
    servers = [await startNatsServer(options)];
    expect(await say(servers, "alone", 1)).toEqual(["alone"]);
    for (const round of ["first", "second"]) {
      await stop();
      servers = await Promise.all(names.map((_, i) => oneOfThree(i)));
      expect(await say(servers, round, 3)).toContain("alone");
      const nc = await probeOf(
        servers.map(({ url }) => url),
        lead.seed,
      );
      await expect.poll(() => holders(nc.nc, outputStream(A)), WAIT).toEqual(names);
      await nc.close();
      await stop();
      servers = [await startNatsServer(options)];
      await expect(say(servers, `alone after the ${round}`, 1)).resolves.toContain(round);
      for (const name of ["n2", "n3"]) await rm(join(folder, name), { recursive: true });
    }
    expect(await say(servers, "end", 1)).toEqual(["alone", "first", "alone after the first", "second", "alone after the second", "end"]);
  } finally {
    await stop();
    await rm(folder, { recursive: true, force: true });
  }
}, 120_000);
