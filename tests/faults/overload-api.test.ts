/**
 * F34, F37 at the API's own limits: more connections, more bytes and more slow readers than there is room for. What comes
 * beyond a limit is answered, memory is bounded, and everybody else is served.
 */
import { once } from "node:events";
import { request, type ClientRequest, type IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import type { TaskId } from "@openclaw-cluster/contract/ids";
import { afterEach, beforeEach, expect, test } from "vitest";
import { BODIES_BYTES_MAX } from "../../cluster/src/api/body.ts";
import { STREAM } from "../../cluster/src/api/stream.ts";
import { startApi, type TestApi } from "../support/api-server.ts";

const CONNECTIONS_MAX = 1_024;
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

async function open(first: string): Promise<Socket> {
  const socket = api.dial();
  await once(socket, "connect");
  socket.write(first);
  return socket.resume();
}

test("connection 1,025 gets an answer, and the next one is served when there is room again", async () => {
  await submit();
  const head = `GET /api/v1/tasks/t1?wait=60 HTTP/1.1\r\nhost: 127.0.0.1:${api.port}\r\nauthorization: Bearer ${api.tokens.viewer}\r\n\r\n`;
  const busy = await Promise.all(Array.from({ length: CONNECTIONS_MAX }, () => open(head)));
  await expect.poll(() => api.coordinator.listening, PATIENT).toBe(CONNECTIONS_MAX);
  const refused = await api.ask({ path: "/api/v1/cluster" });
  expect([refused.status, refused.json.code, refused.headers["retry-after"], refused.headers.connection]).toEqual([
    429,
    "overloaded",
    "5",
    "close",
  ]);
  for (const socket of busy.slice(0, 10)) socket.destroy();
  await expect.poll(async () => (await api.ask({ path: "/api/v1/cluster" })).status, PATIENT).toBe(200);
});

test("what waits for all slow readers together is bounded, and each gets everything when it reads again", async () => {
  const result = "x".repeat(4_000);
  const perRound = 64;
  // Each of them would be within its own limit when all of them together are beyond theirs.
  await submit();
  const slow = await Promise.all(Array.from({ length: 20 }, listen));
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
    expect(sent * result.length).toBeLessThan(20 * STREAM.bufferedBytesMax);
  }
  expect(api.coordinator.listening).toBe(slow.length + 1);
  for (const { answer } of slow) answer.resume();
  for (const { pieces } of slow) await expect.poll(() => pieces.at(-1), PATIENT).toContain(`id: ${sent}\n`);
});

/** An open stream of events: the pieces that have come. */
function listen(): Promise<{ answer: IncomingMessage; pieces: string[] }> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${api.tokens.viewer}` };
    const asked = request({ host: "127.0.0.1", port: api.port, path: "/api/v1/events", headers, agent: false }, (answer) => {
      const pieces: string[] = [];
      answer.setEncoding("utf8");
      answer.on("data", (piece: string) => pieces.push(piece));
      resolve({ answer, pieces });
    });
    asked.on("error", reject);
    asked.end();
  });
}
