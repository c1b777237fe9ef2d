/** The proxy's weather does what it says, so that a fault test which holds has met the fault. */
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openChaosProxy, type ChaosProxy } from "./support/chaos-proxy.ts";

/** An echo server behind the proxy, and what it has seen. */
let proxy: ChaosProxy;
let server: ReturnType<typeof createServer>;
let seen: { heard: string; ends: number };
const clients: Socket[] = [];

beforeEach(async () => {
  const own = { heard: "", ends: 0 };
  seen = own;
  server = createServer((socket) => {
    socket.on("data", (bytes) => {
      own.heard += bytes.toString();
      socket.write(bytes);
    });
    socket.on("error", () => undefined).on("close", () => (own.ends += 1));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  proxy = await openChaosProxy({ target: { port: (server.address() as AddressInfo).port }, seed: 7 });
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await proxy.close();
  await new Promise((resolve) => server.close(resolve));
});

interface Talk {
  readonly socket: Socket;
  readonly answer: () => string;
  readonly codes: string[];
}

async function talk(): Promise<Talk> {
  const socket = connect(proxy.port, "127.0.0.1");
  clients.push(socket);
  const pieces: Buffer[] = [];
  const codes: string[] = [];
  socket.on("data", (bytes: Buffer) => pieces.push(bytes));
  socket.on("error", (error: NodeJS.ErrnoException) => codes.push(error.code ?? ""));
  await once(socket, "connect");
  return { socket, codes, answer: () => Buffer.concat(pieces).toString() };
}

const text = "0123456789".repeat(20_000);

test("calm: everything passes, and an end after it", async () => {
  const { socket, answer } = await talk();
  socket.end(text);
  await once(socket, "close");
  expect(answer()).toBe(text);
  await expect.poll(() => [proxy.open, seen.ends]).toEqual([0, 1]);
});

test("latency, jitter, a narrow pipe and slices delay, but keep everything in order", async () => {
  proxy.weather({ up: { latencyMs: 20, jitterMs: 30, sliceBytes: 10_000 }, down: { bytesPerSecond: 1_000_000, sliceBytes: 1_000 } });
  const { socket, answer } = await talk();
  const from = performance.now();
  socket.write(text);
  await expect.poll(() => answer().length, { timeout: 10_000, interval: 5 }).toBe(text.length);
  expect(answer()).toBe(text);
  // Not sooner than the pipe allows; later is the machine's affair.
  expect(performance.now() - from).toBeGreaterThan(200 + 20);
});

test("one way swallows bytes and ends in silence, the other goes on; a clear sky tells the end", async () => {
  const { socket, answer } = await talk();
  proxy.weather({ down: { swallow: true } });
  socket.write("heard");
  await expect.poll(() => seen.heard).toBe("heard");
  proxy.weather({ up: { swallow: true } });
  socket.end("not heard");
  await expect.poll(() => proxy.swallowedBytes).toBe("heard".length + "not heard".length);
  expect([seen.heard, answer(), seen.ends]).toEqual(["heard", "", 0]);
  proxy.weather({});
  await expect.poll(() => seen.ends).toBe(1);
  expect(seen.heard).toBe("heard");
});

test("a connection is cut at its byte, in the midst of what is said", async () => {
  proxy.weather({ up: { cutAtByte: 15 } });
  const { socket } = await talk();
  socket.write("0123456789");
  await expect.poll(() => seen.heard.length).toBe(10);
  socket.write("0123456789");
  await once(socket, "close");
  expect(seen.heard).toBe("012345678901234");
});

test("an answer is cut: the request arrived", async () => {
  const { socket, answer } = await talk();
  proxy.answersToCut = 1;
  socket.write("request");
  await once(socket, "close");
  expect([seen.heard, answer(), proxy.answersToCut]).toEqual(["request", "", 0]);
});

test("a reset is told as one", async () => {
  const { socket, codes } = await talk();
  socket.write("x");
  await expect.poll(() => seen.heard.length).toBe(1);
  proxy.resetAll();
  await expect.poll(() => codes).toEqual(["ECONNRESET"]);
});
