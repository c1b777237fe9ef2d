/** What only time shows: connections that dawdle are closed within ten seconds, and nobody else notices. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { startApi, type TestApi } from "../support/api-server.ts";

const CLOSED_MS = 12_000;
const IDLE_CONNECTIONS = 500;

let api: TestApi;
beforeEach(async () => {
  api = await startApi();
});
afterEach(() => api.close());

/** A connection that sends this at once and then a byte now and again, until it is closed. */
function dawdle(first: string): { received(): string; closed: boolean } {
  const socket = api.dial();
  let received = "";
  const state = { received: () => received, closed: false };
  const drip = setInterval(() => socket.write("x"), 500);
  socket.on("data", (bytes) => (received += bytes.toString()));
  socket.on("close", () => {
    clearInterval(drip);
    state.closed = true;
  });
  if (first !== "") socket.write(first);
  return state;
}

test("slow headers, a slow body and silence are closed; a healthy caller is served meanwhile", async () => {
  const head = `POST /api/v1/tasks HTTP/1.1\r\nHost: 127.0.0.1:${api.port}\r\n`;
  const headers = dawdle(`${head}X-Slow: `);
  const body = dawdle(
    `${head}Authorization: Bearer ${api.tokens.admin}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"`,
  );
  const stranger = dawdle(`${head}Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"`);
  const idle = Array.from({ length: IDLE_CONNECTIONS }, () => api.dial());
  let idleClosed = 0;
  for (const socket of idle) {
    socket.on("close", () => (idleClosed += 1));
    socket.resume();
  }
  expect((await api.ask({ path: "/api/v1/cluster" })).status).toBe(200);
  await expect
    .poll(() => [headers.closed, body.closed, stranger.closed, idleClosed], { timeout: CLOSED_MS, interval: 100 })
    .toEqual([true, true, true, IDLE_CONNECTIONS]);
  expect(body.received()).toContain("The request took too long to arrive.");
  // Not 400: a server that was too busy to read it in time says the same, and then the caller may try again.
  expect(body.received()).toMatch(/^HTTP\/1\.1 503 /);
  expect(stranger.received()).toMatch(/^HTTP\/1\.1 401 /);
  expect((await api.ask({ path: "/api/v1/cluster" })).status).toBe(200);
  expect(api.coordinator.requests).toHaveLength(0);
});
