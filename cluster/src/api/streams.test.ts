import { request, type IncomingMessage } from "node:http";
import { SseReader, type ServerEvent } from "@openclaw-cluster/contract/client/sse";
import type { ClusterEvent } from "@openclaw-cluster/contract/events";
import type { NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import type { OutputChunk } from "@openclaw-cluster/contract/wire";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startApi, type TestApi } from "../../../tests/support/api-server.ts";
import { HandClock } from "../../../tests/support/hand-clock.ts";
import type { ApiTokenRow } from "../store/store.ts";
import { hashToken } from "../trust/token.ts";
import { STREAM } from "./stream.ts";

let api: TestApi;
let clock: HandClock;
/** For whose tasks it may read all: those that the administrator has submitted. */
let reader: string;
beforeEach(async () => {
  clock = new HandClock();
  api = await startApi({ clock });
  reader = api.coordinator.tokenFor("viewer", "admin");
  await api.ask({ method: "POST", path: "/api/v1/tasks", body: { tasks: [spec(), spec(), spec()] } });
});
afterEach(() => api.close());

const spec = () => ({ kind: "echo", input: {} });
const id = (n: number): TaskId => `t${n}` as TaskId;

/** An open stream: what has arrived so far, and the raw answer to pause or cut. */
interface Open {
  readonly answer: IncomingMessage;
  readonly pieces: string[];
  events(): ServerEvent[];
  readonly ended: boolean;
  cut(): void;
}

const as = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` });
const openMany = (count: number, token: string): Promise<Open[]> =>
  Promise.all(Array.from({ length: count }, () => open("/events", as(token))));

function open(path: string, headers: Record<string, string> = {}): Promise<Open> {
  return new Promise((resolve, reject) => {
    const all = { authorization: `Bearer ${reader}`, ...headers };
    const asked = request({ host: "127.0.0.1", port: api.port, path: `/api/v1${path}`, headers: all, agent: false }, (answer) => {
      const pieces: string[] = [];
      let ended = false;
      answer.setEncoding("utf8");
      answer.on("data", (piece: string) => pieces.push(piece));
      answer.on("close", () => (ended = true));
      // A cut from either side is what these tests are about; `ended` tells of it.
      answer.on("error", () => (ended = true));
      resolve({
        answer,
        pieces,
        events: () => new SseReader().push(pieces.join("")),
        get ended() {
          return ended;
        },
        cut: () => answer.destroy(),
      });
    });
    asked.on("error", reject);
    asked.end();
  });
}

const data = (stream: Open): ClusterEvent[] => stream.events().map((event) => JSON.parse(event.data) as ClusterEvent);
const arrived = (stream: Open, count: number): Promise<void> => expect.poll(() => stream.events().length).toBe(count);

test("every event has its id, and one commit's events come in one piece", async () => {
  const stream = await open("/events");
  expect(stream.answer.headers).toMatchObject({ "content-type": "text/event-stream", "cache-control": "no-store" });
  api.coordinator.finish([id(1), id(2), id(3)]);
  await arrived(stream, 3);
  expect(stream.pieces).toHaveLength(1);
  expect(stream.events().map((event) => event.id)).toEqual(["1", "2", "3"]);
  expect(data(stream).map((event) => event.id)).toEqual([1, 2, 3]);
});

test("Last-Event-ID goes on after that event, or with a gap where it is too old", async () => {
  api.coordinator.finish([id(1), id(2), id(3)]);
  const stream = await open("/events", { "last-event-id": "1" });
  await arrived(stream, 2);
  expect(data(stream)).toMatchObject([{ task: "t2" }, { task: "t3" }]);

  api.coordinator.kept = api.coordinator.kept.slice(2);
  const late = await open("/events", { "last-event-id": "1" });
  await arrived(late, 1);
  expect(data(late)).toMatchObject([{ type: "gap" }]);
  expect((await api.ask({ path: "/api/v1/events", headers: { "last-event-id": "yesterday" } })).status).toBe(400);
});

test("filters: terminal, task and types; a gap always passes", async () => {
  const ends = await open("/events?terminal=true");
  const one = await open("/events?task=t2");
  const nodes = await open("/events?types=node");
  const node = { id: 90, at: 1, type: "node", node: "studio" as NodeId, state: "ready", draining: false } as const;
  const progress = { id: 91, at: 1, type: "progress", task: id(2), progress: {} } as const;
  const gap = { id: 92, at: 1, type: "gap" } as const;
  api.coordinator.publish(api.coordinator.taskEvent(id(1), { state: "running", reason: "started" }));
  api.coordinator.finish([id(1), id(2)]);
  api.coordinator.publish(node, progress, gap);
  await expect.poll(() => [ends, one, nodes].map((stream) => stream.events().at(-1)?.id)).toEqual(["92", "92", "92"]);
  expect(data(ends)).toMatchObject([{ task: "t1", state: "succeeded" }, { task: "t2", state: "succeeded" }, gap]);
  expect(data(one)).toMatchObject([{ task: "t2", state: "succeeded" }, progress, gap]);
  expect(data(nodes)).toEqual([node, gap]);
});

test("the events of an unknown task are not found", async () => {
  expect((await api.ask({ path: "/api/v1/events?task=t99" })).status).toBe(404);
  expect((await api.ask({ path: "/api/v1/tasks/t99/logs" })).status).toBe(404);
});

test("a heartbeat comes each interval and carries the last id, also of events that were filtered away", async () => {
  const stream = await open("/events?terminal=true");
  clock.advance(STREAM.heartbeatMs);
  await expect.poll(() => stream.pieces.join("")).toBe(":\n\n");
  api.coordinator.publish(api.coordinator.taskEvent(id(1), { state: "running", reason: "started" }));
  await expect
    .poll(() => {
      clock.advance(STREAM.heartbeatMs);
      return stream.pieces.at(-1);
    })
    .toBe("id: 1\n\n");
});

test("a slow reader is dropped after a gap, with a bounded buffer, and the others go on", async () => {
  const slow = await open("/events");
  const quick = await open("/events");
  slow.answer.pause();
  const result = "x".repeat(4_000);
  let sent = 0;
  // Each round waits for the quick reader, so that only the slow one can fall behind.
  while (api.coordinator.listening === 2) {
    api.coordinator.finish(
      Array.from({ length: 500 }, () => id(1)),
      { result },
    );
    sent += 500;
    await expect.poll(() => quick.pieces.slice(-2).join("").includes(`id: ${sent}\n`), { interval: 1 }).toBe(true);
    expect(sent * result.length).toBeLessThan(100 * STREAM.bufferedBytesMax);
  }
  slow.answer.resume();
  await expect.poll(() => slow.ended).toBe(true);
  const last = data(slow).at(-1);
  expect(last?.type).toBe("gap");
  expect(last?.id).toBe(data(slow).at(-2)?.id);
  expect(slow.events().length).toBeLessThan(sent);
});

test("a reader that takes nothing at all is cut off in the end", async () => {
  const text = "x".repeat(60_000);
  const chunks = Array.from({ length: 400 }, (_, n): OutputChunk => ({ task: id(1), attempt: 1, n, at: 1, stream: "stdout", text }));
  api.coordinator.output.set(id(1), chunks);
  const stalled = await open("/tasks/t1/logs?follow=true");
  stalled.answer.pause();
  await expect.poll(() => api.coordinator.reading).toBe(1);
  await expect
    .poll(() => {
      clock.advance(STREAM.stallMs);
      return api.coordinator.reading;
    })
    .toBe(0);
  stalled.answer.resume();
  await expect.poll(() => stalled.ended).toBe(true);
  expect(stalled.events().length).toBeLessThan(400);
});

test("streams beyond the limit are refused, and a closed one makes room", async () => {
  const streams = await openMany(LIMITS.streamsMax - LIMITS.streamsReserved, api.tokens.admin);
  await openMany(LIMITS.streamsReserved, api.coordinator.tokenFor("operator"));
  const refused = await api.ask({ path: "/api/v1/events" });
  expect([refused.status, refused.json.code, refused.headers["retry-after"]]).toEqual([429, "overloaded", "5"]);
  streams[0]?.cut();
  await expect.poll(() => api.coordinator.listening).toBe(LIMITS.streamsMax - 1);
  expect((await open("/events", as(api.tokens.admin))).answer.statusCode).toBe(200);
});

test("a user has a share, through whichever token, and all below operator leave a reserve (E4)", async () => {
  const [one, another] = [api.coordinator.tokenFor("viewer", "eve"), api.coordinator.tokenFor("submitter", "eve")];
  await openMany(LIMITS.streamsOfUserMax - 1, one);
  const [last] = await openMany(1, another);
  const asked = async (token: string): Promise<number | undefined> => (await open("/events", as(token))).answer.statusCode;
  expect(await asked(one)).toBe(429);
  await openMany(LIMITS.streamsOfUserMax, api.coordinator.tokenFor("viewer", "bob"));
  await openMany(LIMITS.streamsOfUserMax, api.coordinator.tokenFor("viewer", "carol"));
  expect(await asked(reader)).toBe(429);
  expect(await asked(api.tokens.operator)).toBe(200);
  last?.cut();
  await expect.poll(() => asked(reader)).toBe(200);
});

test("a reader that leaves leaves no listener behind", async () => {
  const stream = await open("/events");
  expect(api.coordinator.listening).toBe(1);
  stream.cut();
  await expect.poll(() => api.coordinator.listening).toBe(0);
});

test("close ends the streams", async () => {
  const stream = await open("/events");
  await api.close();
  await expect.poll(() => stream.ended).toBe(true);
  expect(api.coordinator.listening).toBe(0);
});

test("logs: each piece with its place, then `end`; Last-Event-ID skips what was seen", async () => {
  const chunk = (attempt: number, n: number): OutputChunk => ({
    task: id(1),
    attempt,
    n,
    at: 1,
    stream: "stdout",
    text: `${attempt}.${n}\n`,
  });
  api.coordinator.output.set(id(1), [chunk(1, 0), chunk(1, 1), chunk(2, 0)]);
  const all = await open("/tasks/t1/logs");
  await expect.poll(() => all.ended).toBe(true);
  expect(all.events().map(({ id: place, name }) => [name, place])).toEqual([
    ["message", "1.0"],
    ["message", "1.1"],
    ["message", "2.0"],
    ["end", undefined],
  ]);
  const rest = await open("/tasks/t1/logs", { "last-event-id": "1.1" });
  await expect.poll(() => rest.ended).toBe(true);
  expect(rest.events().map(({ id: place }) => place)).toEqual(["2.0", undefined]);
  const second = await open("/tasks/t1/logs?attempt=2");
  await expect.poll(() => second.ended).toBe(true);
  expect(second.events()).toHaveLength(2);
});

test("whatever place a piece names, its reader can go on behind it", async () => {
  const far = Number.MAX_SAFE_INTEGER;
  const chunk = (n: number): OutputChunk => ({ task: id(1), attempt: far, n, at: 1, stream: "stdout", text: `${n}` });
  api.coordinator.output.set(id(1), [chunk(far - 1), chunk(far)]);
  const all = await open("/tasks/t1/logs");
  await expect.poll(() => all.ended).toBe(true);
  const ids = all.events().flatMap(({ id: place }) => place ?? []);
  expect(ids).toEqual([`${far}.${far - 1}`, `${far}.${far}`]);
  const rest = await open("/tasks/t1/logs", { "last-event-id": ids[0] as string });
  await expect.poll(() => rest.ended).toBe(true);
  expect(rest.events().map(({ id: place, name }) => place ?? name)).toEqual([ids[1], "end"]);
});

test("logs with follow go on until the task ends", async () => {
  const stream = await open("/tasks/t1/logs?follow=true");
  await expect.poll(() => api.coordinator.listening).toBe(1);
  expect(stream.ended).toBe(false);
  api.coordinator.finish([id(1)]);
  await expect.poll(() => stream.events().at(-1)?.name).toBe("end");
});

test("a stream tells nothing more when its token is gone", async () => {
  const chunks: OutputChunk[] = [];
  api.coordinator.output.set(id(1), chunks);
  const feed = await open("/events");
  const output = await open("/tasks/t1/logs?follow=true");
  await expect.poll(() => api.coordinator.listening).toBe(2);
  api.coordinator.finish([id(2)]);
  await arrived(feed, 1);
  api.coordinator.rows.delete(hashToken(reader));
  chunks.push({ task: id(1), attempt: 1, n: 0, at: 1, stream: "stdout", text: "later" });
  api.coordinator.finish([id(1)], { result: "later" });
  await expect.poll(() => [feed.ended, output.ended]).toEqual([true, true]);
  for (const stream of [feed, output]) {
    expect(stream.pieces.join("")).not.toContain("later");
    expect(stream.events().at(-1)).toMatchObject({ name: "error", data: expect.stringContaining('"unauthorized"') as string });
  }
});

test("a stream ends with the secret that opened it, though its token goes on with another one", async () => {
  const hash = hashToken(reader);
  const next = { ...(api.coordinator.rows.get(hash) as ApiTokenRow), hash: hashToken("the next secret") };
  // As the coordinator looks tokens up while a rotation's grace lasts: either secret gives the token as it is now.
  for (const either of [hash, next.hash]) api.coordinator.rows.set(either, next);
  const feed = await open("/events");
  api.coordinator.finish([id(2)]);
  await arrived(feed, 1);
  api.coordinator.rows.delete(hash);
  api.coordinator.finish([id(1)], { result: "later" });
  await expect.poll(() => feed.ended).toBe(true);
  expect(feed.pieces.join("")).not.toContain("later");
  expect(feed.events().at(-1)).toMatchObject({ name: "error", data: expect.stringContaining('"unauthorized"') as string });
});

test("a fault in the middle of a stream is told as an event", async () => {
  const stream = await open("/tasks/t1/logs?follow=true");
  await expect.poll(() => api.coordinator.listening).toBe(1);
  api.coordinator.fault = new Error("the bus is on fire");
  api.coordinator.publish({ id: 50, at: 1, type: "gap" });
  await expect.poll(() => stream.ended).toBe(true);
  const [told] = stream.events();
  expect(told?.name).toBe("error");
  expect(JSON.parse(told?.data ?? "")).toMatchObject({ code: "internal", detail: expect.not.stringContaining("on fire") as string });
});
