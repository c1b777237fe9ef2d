/**
 * F34, F37 at the API's own limits: more connections, more bytes and more slow readers than there is room for. What comes
 * beyond a limit is answered, memory is bounded, and everybody else is served.
 */
import { once } from "node:events";
import { request, type ClientRequest, type IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { openClient } from "@openclaw-cluster/contract/client/client";
import { nodeTransport } from "@openclaw-cluster/contract/client/node-transport";
import { SseReader } from "@openclaw-cluster/contract/client/sse";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import type { TaskId } from "@openclaw-cluster/contract/ids";
import type { OutputChunk } from "@openclaw-cluster/contract/wire";
import { afterEach, beforeEach, expect, test } from "vitest";
import { BODIES_BYTES_MAX } from "../../cluster/src/api/body.ts";
import { BACKLOG_BYTES_MAX } from "../../cluster/src/api/backlog.ts";
import { STREAM } from "../../cluster/src/api/stream.ts";
import { READ_AHEAD_PIECES } from "../../cluster/src/bus/bus.ts";
import { startApi, type TestApi } from "../support/api-server.ts";

const CONNECTIONS_MAX = 1_024;
const OF_ADDRESS_MAX = 768;
const SLOW_READERS = 48;
const PATIENT = { timeout: 30_000 };

let api: TestApi;
beforeEach(async () => {
  api = await startApi();
});
afterEach(() => api.close());

const spec = { kind: "echo", input: {} };
const submit = () => api.ask({ method: "POST", path: "/api/v1/tasks", body: spec });

test("large bodies together are bounded; small ones are let through, and large ones again after them", async () => {
  const size = LIMITS.bodyBytesMax;
  const blanks = Buffer.alloc(size, " ");
  const beyond = BODIES_BYTES_MAX / size + 2;
  const slow = Array.from({ length: beyond }, () => post(size));
  const refused = Promise.any(
    slow.map(async (one) => {
      const answer = await answerOf(one);
      expect([answer.statusCode, answer.headers["retry-after"]]).toEqual([429, "2"]);
    }),
  );
  // All but its last byte: it is held until its time is over.
  for (const one of slow) one.write(blanks.subarray(1));
  await refused;
  expect((await submit()).status).toBe(202);
  for (const one of slow) one.destroy();
  // Read whole, and found to be no JSON.
  await expect
    .poll(async () => {
      const late = post(size);
      late.end(blanks);
      return (await answerOf(late)).statusCode;
    }, PATIENT)
    .toBe(400);
});

function post(bytes: number): ClientRequest {
  const headers = { authorization: `Bearer ${api.tokens.admin}`, "content-type": "application/json", "content-length": String(bytes) };
  const one = request({ host: "127.0.0.1", port: api.port, method: "POST", path: "/api/v1/tasks", headers, agent: false });
  // Cut by the server after its answer, or by the test.
  one.on("error", () => one.destroy());
  return one;
}

function answerOf(one: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    one.once("response", (answer) => resolve(answer.resume()));
    one.once("close", () => reject(new Error("closed without an answer")));
  });
}

async function open(first: string, localAddress?: string): Promise<Socket> {
  const socket = api.dial(localAddress);
  await once(socket, "connect");
  socket.write(first);
  return socket.resume();
}

const waiting = (count: number, localAddress?: string): Promise<Socket[]> => {
  const token = api.coordinator.tokenFor("viewer", "admin");
  const head = `GET /api/v1/tasks/t1?wait=60 HTTP/1.1\r\nhost: 127.0.0.1:${api.port}\r\nauthorization: Bearer ${token}\r\n\r\n`;
  return Promise.all(Array.from({ length: count }, () => open(head, localAddress)));
};
const FULL = [429, "overloaded", "5", "close"];
const status = async (localAddress?: string): Promise<unknown[]> => {
  const { status: its, json, headers } = await api.ask({ path: "/api/v1/cluster", ...(localAddress !== undefined && { localAddress }) });
  return its === 200 ? [its] : [its, json.code, headers["retry-after"], headers.connection];
};

test("connection 769 of one address gets an answer, and the next one is served when there is room again", async () => {
  await submit();
  const busy = await waiting(OF_ADDRESS_MAX);
  await expect.poll(() => api.coordinator.listening, PATIENT).toBe(OF_ADDRESS_MAX);
  expect(await status()).toEqual(FULL);
  for (const socket of busy.slice(0, 10)) socket.destroy();
  await expect.poll(() => status(), PATIENT).toEqual([200]);
});

// Other systems have one loopback address only.
test.skipIf(process.platform !== "linux")("others are served meanwhile, until there are 1,024 in all", async () => {
  await submit();
  await waiting(OF_ADDRESS_MAX);
  await expect.poll(() => api.coordinator.listening, PATIENT).toBe(OF_ADDRESS_MAX);
  expect([await status(), await status("127.0.0.2")]).toEqual([FULL, [200]]);
  const others = await waiting(CONNECTIONS_MAX - OF_ADDRESS_MAX, "127.0.0.2");
  await expect.poll(() => api.coordinator.listening, PATIENT).toBe(CONNECTIONS_MAX);
  expect(await status("127.0.0.3")).toEqual(FULL);
  for (const socket of others.slice(0, 10)) socket.destroy();
  await expect.poll(() => status("127.0.0.3"), PATIENT).toEqual([200]);
});

test("what waits for all slow readers together is bounded, and each gets everything when it reads again", async () => {
  const result = "x".repeat(4_000);
  const perRound = 64;
  // Each of them is far within its own limit when all of them together are beyond theirs, however unevenly the kernel takes from them.
  await submit();
  const slow = await Promise.all(Array.from({ length: SLOW_READERS }, () => listen()));
  const quick = await listen();
  for (const { answer } of slow) answer.pause();
  let sent = 0;
  // Several MiB for each of them wait in the kernel before anything does here.
  while (api.coordinator.unread === 0) {
    api.coordinator.finish(
      Array.from({ length: perRound }, () => "t1" as TaskId),
      { result },
    );
    sent += perRound;
    await expect.poll(() => quick.pieces.slice(-2).join("").includes(`id: ${sent}\n`), { ...PATIENT, interval: 1 }).toBe(true);
    expect(sent * result.length).toBeLessThan(SLOW_READERS * STREAM.bufferedBytesMax);
  }
  expect(api.coordinator.listening).toBe(slow.length + 1);
  for (const { answer } of slow) answer.resume();
  for (const { pieces } of slow) await expect.poll(() => pieces.at(-1), PATIENT).toContain(`id: ${sent}\n`);
});

test("slow readers of logs are bounded together: the slowest is told to come back, and each gets every piece in the end", async () => {
  await submit();
  const text = "x".repeat(900_000);
  // The kernel takes several MiB for each of them before anything waits here.
  const chunks = Array.from({ length: 10 }, (_, n): OutputChunk => ({
    task: "t1" as TaskId,
    attempt: 1,
    n,
    at: 1,
    stream: "stdout",
    text,
  }));
  api.coordinator.output.set("t1" as TaskId, chunks);
  const fits = Math.floor(BACKLOG_BYTES_MAX / (text.length * (1 + READ_AHEAD_PIECES)));
  const client = openClient({
    url: `http://127.0.0.1:${api.port}`,
    token: api.coordinator.tokenFor("viewer", "admin"),
    transport: nodeTransport(),
  });
  const slowest = await listen("/api/v1/tasks/t1/logs");
  slowest.answer.pause();
  await expect.poll(() => api.coordinator.reading, PATIENT).toBe(1);
  const slow = Array.from({ length: fits + 10 }, () => client.logs("t1" as TaskId)[Symbol.asyncIterator]());
  const first = await Promise.all(slow.map(async (one) => (await one.next()).value as OutputChunk));
  // They take no more for now. Whoever is dropped is not read for any longer.
  await expect.poll(() => api.coordinator.reading, PATIENT).toBeLessThanOrEqual(fits);
  slowest.answer.resume();
  const events = (): ReturnType<SseReader["push"]> => new SseReader().push(slowest.pieces.join(""));
  await expect.poll(() => events().at(-1)?.name, PATIENT).toBe("error");
  expect(JSON.parse(events().at(-1)?.data ?? "")).toMatchObject({ code: "overloaded", retryable: true });
  expect(
    events()
      .slice(0, -1)
      .map(({ id }) => id),
  ).toEqual(chunks.slice(0, events().length - 1).map(({ n }) => `1.${n}`));
  const rest = slow.map(async (one, at) => {
    const got = [first[at] as OutputChunk];
    for (let next = await one.next(); next.done !== true; next = await one.next()) got.push(next.value);
    expect(got.map(({ n }) => n)).toEqual(chunks.map(({ n }) => n));
  });
  await Promise.all(rest);
  await client.close();
});

/** An open stream, of events unless another is named: the pieces that have come. */
function listen(path = "/api/v1/events"): Promise<{ answer: IncomingMessage; pieces: string[] }> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${api.coordinator.tokenFor("viewer", "admin")}` };
    const asked = request({ host: "127.0.0.1", port: api.port, path, headers, agent: false }, (answer) => {
      const pieces: string[] = [];
      answer.setEncoding("utf8");
      answer.on("data", (piece: string) => pieces.push(piece));
      resolve({ answer, pieces });
    });
    asked.on("error", reject);
    asked.end();
  });
}
