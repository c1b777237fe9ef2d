/** Three nats-servers as one: who is heard where, what outlives whose death, and what the leading daemon hears of the others' servers. */
import { jetstreamManager } from "@nats-io/jetstream";
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Bus, Refusal } from "../../cluster/src/bus/bus.ts";
import type { NatsBus } from "../../cluster/src/bus/nats.ts";
import { openConnection, type Connection } from "../../cluster/src/bus/nats-connection.ts";
import { outputStream } from "../../cluster/src/bus/nats-streams.ts";
import { blobName, COORDINATOR_INBOX, heartbeatFrom, inboxOf, offersTo, outputOf, reportFrom } from "../../cluster/src/bus/subjects.ts";
import { silentLog } from "../../cluster/src/system/log.ts";
import { startTestCluster, type TestCluster } from "../support/nats-cluster.ts";

const [A, B] = ["a" as NodeId, "b" as NodeId];
const TASK = "t1" as TaskId;
const WAIT = { timeout: 30_000, interval: 20 };
const AGAIN_MS = 500;
const FORMED_MS = 10_000;
const BACK_MS = 1_000;
/** After which it would have gone home more than once. */
const HOME_LOOKED_MS = 8_000;
/** An election takes up to 9 s, by a constant of nats-server's. */
const APPENDS_AGAIN_MS = 12_000;

let cluster: TestCluster;
let coordinator: NatsBus;
let a: NatsBus;
let b: NatsBus;
/** The coordinator's key, to look around with. */
let probe: Connection;
const gone: NodeId[] = [];

beforeAll(async () => {
  cluster = await startTestCluster();
  coordinator = await cluster.coordinatorAt(0);
  probe = await openConnection({
    ...{ urls: cluster.urls(1), seed: cluster.coordinatorKeys.seed, inboxPrefix: COORDINATOR_INBOX, name: "probe", log: silentLog },
  });
  await cluster.letIn(A, coordinator);
  await cluster.letIn(B, coordinator);
  [a, b] = await Promise.all([cluster.connectAs(A, 0), cluster.connectAs(B, 1)]);
  // That of the daemon that leads.
  serverOf(0).onDisconnect((node) => gone.push(node));
});
afterAll(async () => {
  await probe?.close();
  await cluster?.stop();
});

const serverOf = (member: number) => cluster.members[member]!.server;
const placeOf = (member: number): string => new URL(serverOf(member).url).host;
const memberAt = (bus: NatsBus): number => cluster.members.findIndex((_, member) => placeOf(member) === bus.server);

/** How many servers hold all that the stream holds; 0 while it has no leader. */
async function copiesOf(stream: string): Promise<number> {
  return (await infoOf(stream))?.whole ?? 0;
}

async function infoOf(stream: string): Promise<{ leader: string; whole: number } | undefined> {
  const manager = await jetstreamManager(probe.nc, { checkAPI: false });
  const info = await manager.streams.info(stream).catch(() => undefined);
  if (info?.cluster?.leader === undefined) return undefined;
  const replicas = info.cluster.replicas ?? [];
  return { leader: info.cluster.leader, whole: 1 + replicas.filter(({ current, offline }) => current && offline !== true).length };
}

const routed = ({ routes }: { readonly routes: readonly string[] }): boolean => routes.length === cluster.members.length - 1;

async function kill(member: number): Promise<void> {
  const pid = serverOf(member).pid as number;
  process.kill(pid, "SIGKILL");
  await expect.poll(() => serverOf(member).pid, WAIT).not.toBe(pid);
}

async function kept(bus: Bus, subject: string): Promise<unknown[]> {
  const bodies: unknown[] = [];
  for await (const { body } of bus.read(subject, { follow: false })) bodies.push(body);
  return bodies;
}

test("three servers that have just started keep every stream three times, soon", async () => {
  await expect.poll(() => copiesOf(outputStream(A)), { ...WAIT, timeout: FORMED_MS }).toBe(3);
  await expect.poll(() => copiesOf(outputStream(B)), { ...WAIT, timeout: FORMED_MS }).toBe(3);
});

test("a node on one server is heard and answered by the coordinator on another, and the other way round", async () => {
  const asked = coordinator.subscribe(reportFrom(B), ({ body, respond }) => respond?.({ heard: body }));
  b.subscribe(offersTo(B), ({ body, respond }) => respond?.({ taken: body }));
  expect([memberAt(coordinator), memberAt(b)]).toEqual([0, 1]);
  await expect.poll(() => b.request(reportFrom(B), { n: 1 }, 1_000).catch(() => undefined), WAIT).toEqual({ heard: { n: 1 } });
  expect(await coordinator.request(offersTo(B), { n: 2 }, 5_000)).toEqual({ taken: { n: 2 } });
  asked.stop();
});

test("each server tells which of them answer, and who has a route to whom", async () => {
  const { mode, servers } = await serverOf(1).servers();
  const names = cluster.members.map(({ name }) => name);
  expect(mode).toBe("cluster");
  expect(servers.map(({ name }) => name)).toStrictEqual(names);
  for (const { name, routes } of servers) expect(routes).toStrictEqual(names.filter((other) => other !== name));
});

test("kill -9 of each server in turn, under steady output: nothing acknowledged is lost, and who hung on it goes on at another one", async () => {
  const subject = outputOf(A, TASK, 1);
  const acknowledged: number[] = [];
  let stop = false;
  const writing = (async () => {
    for (let n = 0; !stop; n += 1) {
      await a.append(subject, { n });
      acknowledged.push(n);
    }
  })();
  const followed: unknown[] = [];
  const giveUp = new AbortController();
  const following = (async () => {
    for await (const { body } of coordinator.read(subject, { follow: true, signal: giveUp.signal }))
      followed.push((body as { n: number }).n);
  })();
  const leaders: boolean[] = [];
  for (const member of [0, 1, 2]) {
    await expect.poll(() => copiesOf(outputStream(A)), WAIT).toBe(3);
    // Where it is not this one's turn anyway, the one that leads the stream.
    const { leader } = (await infoOf(outputStream(A))) as { leader: string };
    const victim = member === 2 && !leaders.includes(true) ? cluster.members.findIndex(({ name }) => name === leader) : member;
    leaders.push(cluster.members[victim]?.name === leader);
    const hung = [coordinator, a, b].filter((bus) => memberAt(bus) === victim);
    const before = acknowledged.length;
    const killed = kill(victim);
    for (const bus of hung) await expect.poll(() => bus.connected && memberAt(bus) !== victim, { ...WAIT, timeout: BACK_MS }).toBe(true);
    await expect.poll(() => acknowledged.length > before + 1, { ...WAIT, timeout: APPENDS_AGAIN_MS }).toBe(true);
    await killed;
  }
  expect(leaders).toContain(true);
  stop = true;
  await writing;
  expect(await kept(coordinator, subject)).toEqual(acknowledged.map((n) => ({ n })));
  await expect.poll(() => followed, WAIT).toEqual(acknowledged);
  giveUp.abort();
  await following;
}, 180_000);

test("the coordinator comes back to its own server", async () => {
  await expect.poll(() => coordinator.connected && memberAt(coordinator) === 0, WAIT).toBe(true);
  await kill(0);
  await expect.poll(() => coordinator.connected && memberAt(coordinator) !== 0, { ...WAIT, timeout: BACK_MS }).toBe(true);
  await expect.poll(() => coordinator.connected && memberAt(coordinator) === 0, WAIT).toBe(true);
});

test("a server that hangs is left, and nobody goes home to it before it wakes", async () => {
  const pid = serverOf(0).pid as number;
  process.kill(pid, "SIGSTOP");
  try {
    const changes: boolean[] = [];
    await expect.poll(() => coordinator.connected && memberAt(coordinator) !== 0, WAIT).toBe(true);
    coordinator.onStatus((connected) => changes.push(connected));
    // Its machine takes calls for it all the same, so that looking whether somebody listens there would not do.
    const since = performance.now();
    await expect.poll(() => performance.now() - since > HOME_LOOKED_MS, WAIT).toBe(true);
    expect(changes).toEqual([]);
  } finally {
    process.kill(pid, "SIGCONT");
  }
  await expect.poll(() => coordinator.connected && memberAt(coordinator) === 0, WAIT).toBe(true);
});

test("a large result that was put on one server is there on another at once, and outlives a server", async () => {
  const bytes = Buffer.alloc(1_000_000, 7);
  await expect.poll(() => copiesOf(outputStream(B)), WAIT).toBe(3);
  await b.putBlob(blobName(B, TASK, 1), bytes);
  expect(bytes.equals((await coordinator.getBlob(blobName(B, TASK, 1))) ?? Buffer.alloc(0))).toBe(true);
  await kill(2);
  await expect.poll(() => coordinator.getBlob(blobName(B, TASK, 1)).then((blob) => blob?.length), WAIT).toBe(bytes.length);
});

test("a node that moves to another server has not ended; one that ends has, once", async () => {
  await expect.poll(() => memberAt(b), WAIT).toBe(1);
  await expect.poll(() => serverOf(0).isConnected(B), WAIT).toBe(true);
  // The server dies, and tells nobody; then the node goes home, and its connection elsewhere ends like a process's.
  await kill(1);
  await expect.poll(() => b.connected && memberAt(b) === 1, WAIT).toBe(true);
  await expect.poll(() => serverOf(0).isConnected(B), WAIT).toBe(true);
  expect(gone).toEqual([]);
  await b.close();
  await expect.poll(() => gone, WAIT).toEqual([B]);
  expect(serverOf(0).isConnected(B)).toBe(false);
  expect(serverOf(0).isConnected(A)).toBe(true);
  b = await cluster.connectAs(B, 2);
  await expect.poll(() => serverOf(0).isConnected(B), WAIT).toBe(true);
  expect(gone).toEqual([B]);
});

test("a daemon that starts to lead knows who was connected before, on whichever server", async () => {
  const daemon = await cluster.restart(0);
  await expect.poll(() => daemon.server.isConnected(B) && daemon.server.isConnected(A), WAIT).toBe(true);
});

test("what was said to the lives at both ends stays said when a node moves to another server", async () => {
  const heard: unknown[] = [];
  const refused: Refusal[] = [];
  const letters: Uint8Array[] = [];
  coordinator.subscribe(heartbeatFrom(B), ({ body }) => heard.push(body));
  coordinator.onRefusal((_party, why) => refused.push(why));
  probe.nc.subscribe(heartbeatFrom(B), { callback: (_error, { data }) => void letters.push(data.slice()) });
  const say = async (n: number): Promise<void> => {
    await expect.poll(() => (b.publish(heartbeatFrom(B), { n }), heard.some((body) => (body as { n: number }).n === n)), WAIT).toBe(true);
  };
  await say(1);
  await kill(memberAt(b));
  await expect.poll(() => b.connected, WAIT).toBe(true);
  await say(2);
  // What is not known to the other end is refused as another life's, and said again.
  expect(refused).toEqual([]);
  const thief = await openConnection({
    ...{ urls: cluster.urls(1), seed: cluster.keysOf(B).seed, inboxPrefix: inboxOf(B), name: "thief", log: silentLog },
  });
  const before = heard.length;
  for (const letter of [...letters]) thief.nc.publish(heartbeatFrom(B), letter);
  await expect.poll(() => refused, WAIT).toContain("replayed");
  expect([...new Set(refused)]).toEqual(["replayed"]);
  await say(3);
  expect(heard.slice(before)).not.toContainEqual({ n: 1 });
  await thief.close();
});

test("what another server refuses is told to the daemon that leads", async () => {
  // A server was killed above; what is refused while its routes are away is noted beside it alone.
  for (const { server } of cluster.members)
    await expect.poll(() => server.servers().then(({ servers }) => servers.every(routed)), WAIT).toBe(true);
  const trespasses: [NodeId, string][] = [];
  const guesses: string[] = [];
  serverOf(0).onTrespass((node, what) => trespasses.push([node, what]));
  serverOf(0).onGuess((address) => guesses.push(address));
  const raw = await openConnection({
    ...{ urls: [serverOf(2).url], seed: cluster.keysOf(B).seed, inboxPrefix: inboxOf(B), name: "raw", log: silentLog },
  });
  const again = { ...WAIT, interval: AGAIN_MS };
  // Again and again: whoever tells it there may still be on the way back to the one that was killed.
  const trespass = (): [NodeId, string] | undefined => {
    raw.nc.publish(heartbeatFrom(A), "{}");
    return trespasses[0];
  };
  await expect.poll(trespass, again).toEqual([B, `wanted to publish ${heartbeatFrom(A)}`]);
  await raw.close();
  const stranger = { urls: [serverOf(1).url], seed: cluster.stranger.seed, inboxPrefix: inboxOf(B), name: "stranger", log: silentLog };
  const guess = async (): Promise<string[]> => {
    await expect(openConnection(stranger)).rejects.toMatchObject({ code: "unauthorized" });
    return guesses;
  };
  await expect.poll(guess, again).toContain("127.0.0.1");
});

test("a node that only some servers let in yet finds one of those, and one that is shut out finds none", async () => {
  const [first, ...others] = cluster.members;
  cluster.register("late");
  await cluster.authorize([first!]);
  const late = await cluster.connectAs("late", 1);
  expect(memberAt(late)).toBe(0);
  await cluster.authorize(others);
  expect([a.connected, b.connected, coordinator.connected]).toEqual([true, true, true]);
  cluster.shutOut("late");
  await cluster.authorize();
  await expect.poll(() => late.connected, WAIT).toBe(false);
  await expect(cluster.connectAs("late", 1)).rejects.toMatchObject({ code: "unauthorized" });
});
