import { request } from "node:http";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { connect } from "node:net";
import { networkInterfaces } from "node:os";
import { text } from "node:stream/consumers";
import { Readable } from "node:stream";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { HandClock } from "../../../tests/support/hand-clock.ts";
import type { ModelRequest, ModelRouter } from "../models/models.ts";
import { silentLog } from "../system/log.ts";
import { AUTH_FAILURES } from "./auth-failures.ts";
import { openModelEndpoint, type Endpoint } from "./model-endpoint.ts";

const KEY = "ocm_the-right-one";
const ASKER = { token: "laptop", name: "node:laptop" };

const asked: ModelRequest[] = [];
const router: ModelRouter = {
  list: () => Promise.resolve([]),
  answer: async (request) => (
    asked.push(request),
    { status: 200, contentType: "application/json", body: Readable.from([Buffer.from("{}")]), attempts: 1 }
  ),
};
let clock: HandClock;
let endpoint: Endpoint;
beforeEach(async () => {
  asked.length = 0;
  clock = new HandClock();
  endpoint = await openModelEndpoint({ router, port: 0, key: KEY, asker: ASKER, clock, log: silentLog });
});
afterEach(() => endpoint.close());

async function ask(
  headers: Record<string, string>,
  body?: string,
): Promise<{ status: number; code: unknown; retryAfter: string | undefined }> {
  const method = body === undefined ? "GET" : "POST";
  const path = body === undefined ? "/v1/models" : "/v1/chat/completions";
  const sent = request({ host: "127.0.0.1", port: endpoint.port, path, method, headers, agent: false });
  sent.end(body);
  const [answer] = (await once(sent, "response")) as [IncomingMessage];
  const { error } = JSON.parse(await text(answer)) as { error?: { code?: string } };
  return { status: answer.statusCode ?? 0, code: error?.code, retryAfter: answer.headers["retry-after"] };
}
const bearer = (key: string): Record<string, string> => ({ authorization: `Bearer ${key}` });

test("answers its own key, for this machine", async () => {
  expect(endpoint.url).toBe(`http://127.0.0.1:${endpoint.port}/v1`);
  expect((await ask(bearer(KEY), '{"model":"m"}')).status).toBe(200);
  expect(asked).toEqual([{ path: "/chat/completions", body: { model: "m" }, asker: ASKER, lane: "interactive" }]);
  expect((await ask({ authorization: `bearer  ${KEY} ` })).status).toBe(200);
  expect((await ask({ ...bearer(KEY), host: `localhost:${endpoint.port}` })).status).toBe(200);
});

test.each([
  ["none", {}],
  ["an empty one", bearer("")],
  ["another", bearer("ocm_another")],
  ["the beginning of it", bearer(KEY.slice(0, -1))],
  ["it in another scheme", { authorization: `Basic ${KEY}` }],
  ["it in another header", { "x-api-key": KEY }],
])("answers nothing to %s (E1)", async (_what, headers) => {
  expect(await ask(headers as Record<string, string>, '{"model":"m"}')).toMatchObject({ status: 401, code: "unauthorized" });
  expect(asked).toEqual([]);
});

test("wrong keys are limited, and shut out nobody with the right one (E3)", async () => {
  for (let tries = 0; tries < AUTH_FAILURES.max; tries++) expect((await ask(bearer("wrong"))).status).toBe(401);
  expect(await ask(bearer("wrong"))).toEqual({ status: 429, code: "overloaded", retryAfter: "60" });
  expect((await ask(bearer(KEY))).status).toBe(200);
  clock.advance(AUTH_FAILURES.windowMs);
  expect((await ask(bearer("wrong"))).status).toBe(401);
});

test.each([
  [403, { origin: "https://evil.example" }],
  [403, { "sec-fetch-site": "cross-site" }],
  [421, { host: "evil.example" }],
  [400, { connection: "Upgrade", upgrade: "websocket" }],
])("no page of another site gets through, not even with the key: %i %j (E2)", async (status, headers) => {
  expect((await ask({ ...bearer(KEY), ...headers })).status).toBe(status);
  expect(asked).toEqual([]);
});

test("is at the loopback only (E1)", async () => {
  const own = Object.values(networkInterfaces()).flatMap((all) =>
    (all ?? []).filter(({ internal, family }) => !internal && family === "IPv4"),
  );
  for (const { address } of own) {
    const socket = connect(endpoint.port, address);
    const [error] = (await once(socket, "error")) as [NodeJS.ErrnoException];
    expect(error.code).toBe("ECONNREFUSED");
  }
});

test("a port that is in use is told, and closing ends what is open", async () => {
  const again = openModelEndpoint({ router, port: endpoint.port, key: KEY, asker: ASKER, clock, log: silentLog });
  await expect(again).rejects.toMatchObject({ code: "port_taken" });
  const socket = connect(endpoint.port, "127.0.0.1");
  await once(socket, "connect");
  const closed = vi.fn<() => void>();
  socket.on("error", () => undefined).on("close", closed);
  await endpoint.close();
  await vi.waitFor(() => expect(closed).toHaveBeenCalled());
});
