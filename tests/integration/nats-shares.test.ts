/**
 * What a node that was taken over can do to what others keep on the bus: nothing. On a real nats-server, with the node's own
 * key in the hands of somebody who does not use our client.
 */
import { jetstreamManager, type StreamState } from "@nats-io/jetstream";
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Bus } from "../../cluster/src/bus/bus.ts";
import { openConnection, type Connection } from "../../cluster/src/bus/nats-connection.ts";
import { shareOf } from "../../cluster/src/bus/nats-shares.ts";
import { blobStream, outputStream } from "../../cluster/src/bus/nats-streams.ts";
import { wordFor } from "../../cluster/src/bus/nats-words.ts";
import { blobName, blobPart, inboxOf, keptUnder, outputOf } from "../../cluster/src/bus/subjects.ts";
import { silentLog } from "../../cluster/src/system/log.ts";
import { createNodeKeys } from "../../cluster/src/trust/keys.ts";
import { startTestNats, type TestNats } from "../support/nats.ts";

const [EVIL, STUDIO] = ["evil" as NodeId, "studio" as NodeId];
const TASK = "t42" as TaskId;
const BLOB = Uint8Array.from({ length: 200_000 }, (_, at) => at % 251);
const ASK = { timeout: 10_000 };
const MIB = 1024 ** 2;
/** Under way at once. */
const BATCH = 16;

let nats: TestNats;
let studio: Bus;
let evil: Connection;
let lead: Connection;
/** It is told it like any node, for what it keeps itself. */
let word: string;
let tasks = 100;
beforeAll(async () => {
  nats = await startTestNats({ plain: true });
  const keys = createNodeKeys();
  await nats.connectAs(EVIL, keys);
  studio = await nats.connectAs(STUDIO);
  const bare = { urls: [nats.server.url], name: "bare", log: silentLog };
  evil = await openConnection({ ...bare, seed: keys.seed, inboxPrefix: inboxOf(EVIL) });
  lead = await openConnection({ ...bare, seed: nats.coordinatorKeys.seed, inboxPrefix: "_INBOX_COORDINATOR" });
  word = wordFor(nats.coordinatorKeys.seed, EVIL);
  await studio.putBlob(blobName(STUDIO, TASK, 1), BLOB);
  await studio.append(outputOf(STUDIO, TASK, 1), "honest");
});
afterAll(async () => {
  await evil?.close();
  await lead?.close();
  await nats?.stop();
});

const stateOf = async (stream: string): Promise<StreamState> => (await (await jetstreamManager(lead.nc)).streams.info(stream)).state;
const studios = async (): Promise<StreamState[]> => [await stateOf(outputStream(STUDIO)), await stateOf(blobStream(STUDIO))];
const ownOutput = (): string => keptUnder(outputOf(EVIL, TASK, 1), word);
const ownBlob = (part: number): string => keptUnder(blobPart(blobName(EVIL, TASK, 1), part), word);

async function expectHonestWhole(output: readonly string[] = ["honest"]): Promise<void> {
  const blob = await nats.coordinatorBus.getBlob(blobName(STUDIO, TASK, 1));
  expect(Buffer.compare(blob ?? Buffer.from("none"), BLOB)).toBe(0);
  const read: unknown[] = [];
  for await (const { body } of nats.coordinatorBus.read(outputOf(STUDIO, TASK, 1), { follow: false })) read.push(body);
  expect(read).toEqual(output);
}

/** Everything that a stream answered to it has arrived, wherever it was sent, when this is over. */
async function settled(): Promise<void> {
  for (const subject of [ownOutput(), ownBlob(0)]) await evil.nc.request(subject, "{}", ASK);
  const later = `t${(tasks += 1)}` as TaskId;
  await studio.append(outputOf(STUDIO, later, 1), "later");
  await studio.putBlob(blobName(STUDIO, later, 1), BLOB);
}

test("it fills no more than its own share, and pushes out only what it wrote itself", async () => {
  const others = Array.from({ length: 62 }, (_, n) => `n${n}` as NodeId);
  await nats.coordinatorBus.keepFor([EVIL, STUDIO, ...others]);
  const share = shareOf(64);
  const write = async (bytes: number, subject: (n: number) => string): Promise<void> => {
    const piece = new Uint8Array(MIB - 1_024);
    for (let n = 0; n * piece.length < bytes; n += BATCH) {
      const batch = Array.from({ length: BATCH }, (_, at) => evil.nc.request(subject(n + at), piece, ASK));
      for (const ack of await Promise.all(batch)) expect(ack.json()).not.toHaveProperty("error");
    }
  };
  await write(share.outputBytes * 1.5, ownOutput);
  await write(share.blobBytes * 1.5, ownBlob);
  for (const [stream, most] of [[outputStream(EVIL), share.outputBytes] as const, [blobStream(EVIL), share.blobBytes] as const]) {
    const { bytes, first_seq } = await stateOf(stream);
    expect(bytes).toBeLessThanOrEqual(most);
    expect(first_seq).toBeGreaterThan(1);
  }
  await expectHonestWhole();
}, 60_000);

test("the acknowledgements of its own streams, sent where others keep theirs, are taken in by none of them", async () => {
  const before = await studios();
  const end = blobPart(blobName(STUDIO, TASK, 1), "end");
  const targets = [end, blobPart(blobName(STUDIO, TASK, 1), 0), outputOf(STUDIO, TASK, 1), "ocx.out.studio.x", "ocx.blob.studio.x"];
  // As it is kept elsewhere: with a word that is not studio's.
  for (const reply of [...targets, ...targets.map((target) => keptUnder(target, word))])
    for (const subject of [ownOutput(), ownBlob(0)]) evil.nc.publish(subject, "{}", { reply });
  await settled();
  await expectHonestWhole();
  // What was settled with: one piece of output; four parts of a blob, and its end.
  expect((await studios()).map(({ last_seq }, at) => last_seq - (before[at]?.last_seq ?? 0))).toEqual([1, 5]);
});

test("nor do they purge, delete or change another's stream, sent to nats-server's own API", async () => {
  const requests = ["PURGE", "MSG.DELETE", "DELETE", "UPDATE", "CREATE", "RESTORE", "SNAPSHOT"].map((what) => `$JS.API.STREAM.${what}`);
  const before = await studios();
  for (const request of requests)
    for (const stream of [outputStream(STUDIO), blobStream(STUDIO)]) evil.nc.publish(ownOutput(), "{}", { reply: `${request}.${stream}` });
  await settled();
  await expectHonestWhole();
  expect(
    (await studios()).map(({ messages, first_seq, num_deleted }, at) => [messages - (before[at]?.messages ?? 0), first_seq, num_deleted]),
  ).toEqual([
    [1, 1, undefined],
    [5, 1, undefined],
  ]);
});

test("nobody purges a node's stream or deletes of it, with the coordinator's rights neither", async () => {
  const manager = await jetstreamManager(lead.nc);
  for (const stream of [outputStream(STUDIO), blobStream(STUDIO)]) {
    await expect(manager.streams.purge(stream)).rejects.toThrow(/purge/);
    await expect(manager.streams.deleteMessage(stream, 1)).rejects.toThrow(/delete/);
  }
  await expectHonestWhole();
});

test("what is written under a node's name without its word is kept nowhere", async () => {
  await expect(evil.nc.request(outputOf(EVIL, TASK, 2), "{}", ASK)).rejects.toMatchObject({ message: /no responders/i });
});

test("a node that is gone: what it wrote can be read on, and its streams go when they are empty", async () => {
  const late = await nats.connectAs("late");
  await nats.connectAs("idle");
  await late.putBlob("late.t1.1", BLOB);
  await late.append(outputOf("late" as NodeId, "t1" as TaskId, 1), "kept");
  for (const node of ["late", "idle"]) await nats.revoke(node);
  const manager = await jetstreamManager(lead.nc);
  const names = (await manager.streams.names().next()).filter((name) => /late|idle/.test(name));
  expect(names.toSorted()).toEqual(["OCX_BLOB_late", "OCX_OUT_late"]);
  expect(await nats.coordinatorBus.getBlob("late.t1.1")).toHaveLength(BLOB.length);
  expect(await nats.coordinatorBus.getBlob("idle.t1.1")).toBeUndefined();
  const read: unknown[] = [];
  for (const node of ["late", "idle"])
    for await (const { body } of nats.coordinatorBus.read(outputOf(node as NodeId, "t1" as TaskId, 1), { follow: false })) read.push(body);
  expect(read).toEqual(["kept"]);
});

test("the streams that all nodes once shared are removed where they still stand, so that the others can listen there", async () => {
  const manager = await jetstreamManager(lead.nc);
  for (const node of [EVIL, STUDIO]) for (const name of [outputStream(node), blobStream(node)]) await manager.streams.delete(name);
  for await (const { config } of manager.streams.list()) await manager.streams.delete(config.name);
  await manager.streams.add({ name: "OCX_OUTPUT", subjects: ["ocx.out.>"] });
  await manager.streams.add({ name: "OCX_BLOBS", subjects: ["ocx.blob.>"] });
  await nats.coordinatorBus.keepFor([STUDIO]);
  expect((await manager.streams.names().next()).toSorted()).toEqual(["OCX_BLOB_studio", "OCX_OUT_studio"]);
  await studio.putBlob(blobName(STUDIO, TASK, 1), BLOB);
  await studio.append(outputOf(STUDIO, TASK, 1), "again");
  await expectHonestWhole(["again"]);
});
