/** What is refused on a real nats-server that lets it through: whoever holds a key of the server's, but not the key that signs. */
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Bus, Refusal, Subscription } from "../../cluster/src/bus/bus.ts";
import { openConnection, type Connection } from "../../cluster/src/bus/nats-connection.ts";
import {
  blobName,
  controlTo,
  COORDINATOR,
  COORDINATOR_INBOX,
  heartbeatFrom,
  offersTo,
  outputOf,
  reportFrom,
} from "../../cluster/src/bus/subjects.ts";
import { silentLog } from "../../cluster/src/system/log.ts";
import { createNodeKeys } from "../../cluster/src/trust/keys.ts";
import { startTestNats, type TestNats } from "../support/nats.ts";

const [A, B] = ["a" as NodeId, "b" as NodeId];
const TASK = "t1" as TaskId;
const WAIT = { timeout: 3_000, interval: 5 };
const keysOfA = createNodeKeys();

let nats: TestNats;
let coordinator: Bus;
let a: Bus;
let b: Bus;
/** Whoever took over nats-server: it lets them say and hear everything. */
let thief: Connection;
/** Node a's key, without our client. */
let raw: Connection;
beforeAll(async () => {
  nats = await startTestNats();
  coordinator = nats.coordinatorBus;
  a = await nats.connectAs(A, keysOfA);
  b = await nats.connectAs(B);
  const open = (seed: Uint8Array, inboxPrefix: string): Promise<Connection> =>
    openConnection({ urls: [nats.server.url], seed, inboxPrefix, name: "raw", log: silentLog });
  raw = await open(keysOfA.seed, "_INBOX_a");
  thief = await open(nats.coordinatorKeys.seed, COORDINATOR_INBOX);
});
afterAll(async () => {
  await raw?.close();
  await thief?.close();
  await nats?.stop();
});

const listening: Subscription[] = [];
afterEach(() => {
  for (const one of listening.splice(0)) one.stop();
});

/** What is heard there, and what is refused. */
async function listen(bus: Bus, subject: string): Promise<{ heard: unknown[]; refused: [string, Refusal][] }> {
  const heard: unknown[] = [];
  const refused: [string, Refusal][] = [];
  listening.push(
    bus.subscribe(subject, ({ body, respond }) => {
      heard.push(body);
      respond?.("heard");
    }),
    bus.onRefusal((...refusal) => refused.push(refusal)),
  );
  // What was subscribed before is in force afterwards.
  await (bus === coordinator ? bus.getBlob(blobName(A, TASK, 1)) : bus.append(outputOf(bus === a ? A : B, TASK, 1), {}));
  return { heard, refused };
}

/** Every message under these subjects, as it is on the wire. */
async function record(subject: string): Promise<Uint8Array[]> {
  const pieces: Uint8Array[] = [];
  const subscription = thief.nc.subscribe(subject, { callback: (_error, { data }) => void pieces.push(data.slice()) });
  listening.push({ stop: () => subscription.unsubscribe() });
  await thief.nc.flush();
  return pieces;
}

test("a node's report goes through; written by hand with its own key, or said again, it does not", async () => {
  const { heard, refused } = await listen(coordinator, reportFrom(A));
  const wire = await record(reportFrom(A));
  expect(await a.request(reportFrom(A), { n: 1 }, 3_000)).toBe("heard");
  raw.nc.publish(reportFrom(A), JSON.stringify({ n: 2 }));
  await expect.poll(() => wire.length, WAIT).toBe(3);
  raw.nc.publish(reportFrom(A), wire[1] as Uint8Array);
  raw.nc.publish(heartbeatFrom(A), wire[1] as Uint8Array);
  expect(await a.request(reportFrom(A), { n: 3 }, 3_000)).toBe("heard");
  expect(heard).toEqual([{ n: 1 }, { n: 3 }]);
  expect(refused).toEqual([
    [A, "unsealed"],
    [A, "replayed"],
  ]);
});

test("what one node has signed is not another's, whoever lets it be said under that name", async () => {
  const { heard } = await listen(coordinator, reportFrom(B));
  expect(await b.request(reportFrom(B), { n: 1 }, 3_000)).toBe("heard");
  const wire = await record(reportFrom(A));
  await a.request(reportFrom(A), { n: 2 }, 500).catch(() => undefined);
  await expect.poll(() => wire.length, WAIT).toBeGreaterThan(0);
  thief.nc.publish(reportFrom(B), wire.at(-1) as Uint8Array);
  expect(await b.request(reportFrom(B), { n: 3 }, 3_000)).toBe("heard");
  expect(heard).toEqual([{ n: 1 }, { n: 3 }]);
});

test("a node obeys its coordinator's signature, not nats-server's word", async () => {
  const { heard, refused } = await listen(a, offersTo(A));
  const wire = await record(offersTo(A));
  expect(await coordinator.deliver(offersTo(A), { n: 1 }, 3_000)).toBe("heard");
  thief.nc.publish(offersTo(A), JSON.stringify({ n: 2 }));
  thief.nc.publish(offersTo(A), wire.at(-1) as Uint8Array);
  thief.nc.publish(controlTo(A), wire.at(-1) as Uint8Array);
  expect(await coordinator.deliver(offersTo(A), { n: 3 }, 3_000)).toBe("heard");
  expect(heard).toEqual([{ n: 1 }, { n: 3 }]);
  expect(refused.map(([, why]) => why)).toEqual(["unsealed", "replayed"]);
});

test("a node answers what comes as the coordinator's word into the coordinator's inbox, or nowhere", async () => {
  const { refused } = await listen(a, offersTo(A));
  const answered: string[] = [];
  for (const place of ["_INBOX_b.spied", `${offersTo(B)}.spied`, `${COORDINATOR_INBOX}.spied`]) {
    const spying = thief.nc.subscribe(`${place}.*`, { callback: (_error, { subject }) => void answered.push(subject) });
    listening.push({ stop: () => spying.unsubscribe() });
    await thief.nc.flush();
    // For a life that is over: whoever asks is told the present one.
    thief.nc.publish(offersTo(A), `m ${"A".repeat(43)} 1 ${"B".repeat(43)} ${"A".repeat(43)}\n{}`, { reply: `${place}.1` });
  }
  await expect.poll(() => answered, WAIT).toEqual([`${COORDINATOR_INBOX}.spied.1`]);
  expect(refused.filter(([, why]) => why === "misdirected")).toEqual([
    [COORDINATOR, "misdirected"],
    [COORDINATOR, "misdirected"],
  ]);
});

test("an answer that is not the asked one's is none", async () => {
  const subscription = thief.nc.subscribe(reportFrom(B), {
    callback: (_error, message) => void message.respond(JSON.stringify({ verdicts: ["accepted"] })),
  });
  await thief.nc.flush();
  await expect(b.request(reportFrom(B), { n: 1 }, 3_000)).rejects.toMatchObject({ code: "bus_unreachable" });
  subscription.unsubscribe();
});

test("another life of a node finds its coordinator", async () => {
  const { heard } = await listen(coordinator, reportFrom(A));
  expect(await a.request(reportFrom(A), { n: 1 }, 3_000)).toBe("heard");
  const again = await nats.connectAs(A, keysOfA);
  expect(await again.request(reportFrom(A), { n: 2 }, 3_000)).toBe("heard");
  expect(heard).toEqual([{ n: 1 }, { n: 2 }]);
});

test("parts of a large message are one message, sealed once", async () => {
  const { heard } = await listen(b, offersTo(B));
  const large = { text: "x".repeat(600_000) };
  expect(await coordinator.deliver(offersTo(B), large, 10_000)).toBe("heard");
  expect(heard).toEqual([large]);
});
