/** Who may do what on the bus, against a real nats-server: every way from one node to another is tried and closed. */
import { connect, errors } from "@nats-io/transport-node";
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Bus } from "../../cluster/src/bus/bus.ts";
import { plainEnvelopes } from "../../cluster/src/bus/envelope-door.ts";
import { connectNats } from "../../cluster/src/bus/nats.ts";
import { openConnection, type Connection } from "../../cluster/src/bus/nats-connection.ts";
import { blobName, heartbeatFrom, offersTo, outputOf, reportFrom, wordFrom } from "../../cluster/src/bus/subjects.ts";
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
/** Node a's key in the hands of somebody who does not use our client. */
let raw: Connection;
beforeAll(async () => {
  nats = await startTestNats({ plain: true });
  coordinator = nats.coordinatorBus;
  a = await nats.connectAs(A, keysOfA);
  b = await nats.connectAs(B);
  raw = await openConnection({ urls: [nats.server.url], seed: keysOfA.seed, inboxPrefix: "_INBOX_a", name: "raw", log: silentLog });
});
afterAll(async () => {
  await raw?.close();
  await nats?.stop();
});

/** What the coordinator subscribed before is in force afterwards. */
const roundTrip = (bus: Bus): Promise<unknown> => bus.getBlob(blobName(A, TASK, 99));

test("a node cannot publish what another node, the coordinator or the server would", async () => {
  const forbidden = [
    heartbeatFrom(B),
    reportFrom(B),
    offersTo(A),
    offersTo(B),
    outputOf(B, TASK, 1),
    wordFrom(B),
    "ocx.up",
    "ocx.up.a",
    "_INBOX_b.x.y",
    "_INBOX_COORDINATOR.x.y",
  ];
  const heard: string[] = [];
  const listening = coordinator.subscribe(">", ({ subject }) => heard.push(subject));
  await roundTrip(coordinator);
  for (const subject of [...forbidden, heartbeatFrom(A)]) raw.nc.publish(subject, "{}");
  await expect.poll(() => heard.includes(heartbeatFrom(A)), WAIT).toBe(true);
  listening.stop();
  expect(heard.filter((subject) => forbidden.includes(subject))).toEqual([]);
});

test.each([
  ">",
  "ocx.>",
  "ocx.down.*.offers",
  "ocx.down.b.>",
  "ocx.up.>",
  "_INBOX_b.>",
  "_INBOX_COORDINATOR.>",
  "_INBOX.>",
  "$JS.>",
  "$SYS.>",
  "$JS.EVENT.>",
])("a node cannot listen to %s", async (pattern) => {
  let refusal: unknown;
  raw.nc.subscribe(pattern, { callback: (error) => void (refusal = error) });
  await expect.poll(() => refusal, WAIT).toBeInstanceOf(errors.PermissionViolationError);
});

test.each([
  "$JS.API.INFO",
  "$JS.API.STREAM.NAMES",
  "$JS.API.STREAM.INFO.OCX_OUT_b",
  "$JS.API.STREAM.DELETE.OCX_OUT_b",
  "$JS.API.STREAM.PURGE.OCX_BLOB_b",
  "$JS.API.DIRECT.GET.OCX_BLOB_b",
  "$JS.API.CONSUMER.CREATE.OCX_OUT_b",
  // Its own neither.
  "$JS.API.DIRECT.GET.OCX_BLOB_a",
  "$JS.API.STREAM.PURGE.OCX_OUT_a",
  "$SYS.REQ.SERVER.PING",
])("a node cannot ask %s", async (subject) => {
  await expect(raw.nc.request(subject, "{}", { timeout: 2_000 })).rejects.toMatchObject({ cause: { name: "PermissionViolationError" } });
});

test("through our own client the same refusals are `forbidden`", async () => {
  await expect(a.append(outputOf(B, TASK, 1), {})).rejects.toMatchObject({ code: "forbidden" });
  await expect(a.putBlob(blobName(B, TASK, 1), new Uint8Array(8))).rejects.toMatchObject({ code: "forbidden" });
  await expect(a.getBlob(blobName(A, TASK, 1))).rejects.toMatchObject({ code: "forbidden" });
  await expect(a.request(reportFrom(B), {}, 2_000)).rejects.toMatchObject({ code: "forbidden" });
  const reading = a.read(outputOf(A, TASK, 1), { follow: false })[Symbol.asyncIterator]();
  await expect(reading.next()).rejects.toMatchObject({ code: "forbidden" });
});

test("a node cannot have the coordinator answer into another node's subjects", async () => {
  const asked: unknown[] = [];
  const heardByB: unknown[] = [];
  const answering = coordinator.subscribe(reportFrom(A), ({ body, respond }) => {
    asked.push(body);
    respond?.({ epoch: 1, verdicts: [] });
  });
  const listening = b.subscribe(offersTo(B), ({ body }) => heardByB.push(body));
  await roundTrip(coordinator);
  await b.append(outputOf(B, TASK, 1), {});
  raw.nc.publish(reportFrom(A), '"deputy"', { reply: offersTo(B) });
  raw.nc.publish(reportFrom(A), '"deputy"', { reply: "_INBOX_b.x.y" });
  raw.nc.publish(reportFrom(A), '"honest"', { reply: "_INBOX_a.x.y" });
  await expect.poll(() => asked.includes("honest"), WAIT).toBe(true);
  coordinator.publish(offersTo(B), "the coordinator's own");
  await expect.poll(() => heardByB.includes("the coordinator's own"), WAIT).toBe(true);
  answering.stop();
  listening.stop();
  expect(asked).toEqual(["honest"]);
  expect(heardByB).toEqual(["the coordinator's own"]);
});

test("a node answers what it is asked, once, and says nothing else to whoever asked", async () => {
  const heard: string[] = [];
  const listening = coordinator.subscribe("_INBOX_COORDINATOR.>", ({ body }) => heard.push(String(body)));
  const asked = raw.nc.subscribe(offersTo(A), {
    callback: (_error, { reply }) => {
      raw.nc.publish(`${reply}x`, '"another word"');
      raw.nc.publish(reply as string, '"the answer"');
      raw.nc.publish(reply as string, '"a second one"');
    },
  });
  await raw.nc.flush();
  expect(await coordinator.deliver(offersTo(A), {}, 5_000)).toBe("the answer");
  raw.nc.publish(heartbeatFrom(A), "{}");
  await raw.nc.flush();
  await roundTrip(coordinator);
  asked.unsubscribe();
  listening.stop();
  expect(heard).toEqual(["the answer"]);
});

test("a foreign key and no key at all are refused", async () => {
  const stranger = createNodeKeys();
  await expect(
    connectNats({ urls: [nats.server.url], node: A, seed: stranger.seed, envelopes: plainEnvelopes(), log: silentLog }),
  ).rejects.toMatchObject({
    code: "unauthorized",
  });
  await expect(connect({ servers: nats.server.url, reconnect: false })).rejects.toBeInstanceOf(errors.AuthorizationError);
});
