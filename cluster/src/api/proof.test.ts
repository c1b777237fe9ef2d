/** Operations without a token: their body proves who sent it, and whoever proves nothing gets nowhere. */
import { OPERATIONS } from "@openclaw-cluster/contract/operations";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startApi, type Answered, type TestApi } from "../../../tests/support/api-server.ts";
import { HandClock } from "../../../tests/support/hand-clock.ts";
import { AUTH_FAILURES } from "./auth-failures.ts";

const JOIN = {
  ...{ invite: "abcdefgh", node: "nas2", publicKey: `U${"A".repeat(55)}`, hostname: "nas", os: "linux" },
  ...{ nonce: "n".repeat(43), proof: "p".repeat(43), signature: "s".repeat(86) },
};

const PROBE = { at: 1, nonce: "n".repeat(43), signature: "s".repeat(86), kind: "echo" };

let api: TestApi;
let clock: HandClock;
beforeEach(async () => {
  clock = new HandClock();
  api = await startApi({ clock });
});
afterEach(() => api.close());

const join = (more: object = {}, headers: Record<string, string> = {}): Promise<Answered> =>
  api.ask({ method: "POST", path: "/api/v1/join", body: { ...JOIN, ...more }, headers: { authorization: undefined, ...headers } });

test("these are all", () => {
  const open = Object.entries(OPERATIONS).filter(([, { scope }]) => (scope as string) === "proof");
  expect(open.map(([name]) => name)).toEqual(["join", "session", "probe", "leave", "rotate"]);
});

test("a wrong proof counts like a wrong token, and keeps tokens of that address out as well", async () => {
  expect((await join()).status).toBe(200);
  for (let tries = 0; tries < AUTH_FAILURES.max; tries++) expect((await join({ node: "stranger" })).status).toBe(401);
  expect((await join()).status).toBe(429);
  expect((await api.ask({ path: "/api/v1/nodes" })).status).toBe(429);
  clock.advance(AUTH_FAILURES.windowMs);
  expect((await join()).status).toBe(200);
});

test("good proofs whose work takes long shut nobody of their address out", async () => {
  const over = Promise.withResolvers<void>();
  api.coordinator.probing = over.promise;
  const probes = Array.from({ length: AUTH_FAILURES.max }, () =>
    api.ask({ method: "POST", path: "/api/v1/nodes/nas2/probe", body: PROBE, headers: { authorization: undefined } }),
  );
  await expect.poll(() => api.coordinator.probed).toBe(AUTH_FAILURES.max);
  expect((await api.ask({ path: "/api/v1/nodes" })).status).toBe(200);
  expect((await join()).status).toBe(200);
  over.resolve();
  expect((await Promise.all(probes)).map(({ status }) => status)).toEqual(probes.map(() => 200));
});

test("a stranger's body is small, whole, and not another site's", async () => {
  expect((await join({ hostname: "x".repeat(20_000) })).status).toBe(413);
  expect((await join({ more: 1 })).status).toBe(400);
  expect((await join({}, { origin: "http://evil.example" })).status).toBe(403);
  expect((await join({}, { host: "evil.example" })).status).toBe(421);
  expect((await join({}, { "content-type": "text/plain" })).status).toBe(415);
});
