import { Problem } from "@openclaw-cluster/contract/errors";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startApi, type Question, type TestApi } from "../../../tests/support/api-server.ts";
import { HandClock } from "../../../tests/support/hand-clock.ts";
import { createToken, hashToken } from "../trust/token.ts";
import { AUTH_FAILURES } from "./auth-failures.ts";
import { openApi } from "./api.ts";
import { silentLog } from "../system/log.ts";

let api: TestApi;
beforeAll(async () => {
  api = await startApi({ allowedHosts: ["studio.tail1234.ts.net"] });
});
afterAll(() => api.close());

/** One request with each verb; the last one opens a stream if it is let in. */
const VERBS: readonly (Question & { method: string })[] = [
  { method: "GET", path: "/healthz" },
  { method: "GET", path: "/api/v1/cluster" },
  { method: "POST", path: "/api/v1/tasks", body: { kind: "echo", input: {} } },
  { method: "PATCH", path: "/api/v1/nodes/studio", body: { slots: 1 } },
  { method: "DELETE", path: "/api/v1/tasks" },
  { method: "PUT", path: "/api/v1/tasks" },
  { method: "OPTIONS", path: "/api/v1/tasks" },
  { method: "GET", path: "/api/v1/events" },
];

describe.each(VERBS)("$method $path", (question) => {
  test.each(["evil.example", "127.0.0.1", "127.0.0.1:1", "127.evil.com:80", "localhost.evil.com", "[::1]", "studio"])(
    "Host %s is refused",
    async (host) => {
      const answer = await api.ask({ ...question, headers: { host } });
      expect(answer.status).toBe(421);
      expect(Problem.parse(answer.json).code).toBe("misdirected");
      expect(api.coordinator.tasks.size).toBe(0);
    },
  );

  test.each(["http://evil.example", "null", "https://127.0.0.1", "http://localhost:1", "file://"])(
    "Origin %s is refused",
    async (origin) => {
      const answer = await api.ask({ ...question, headers: { origin } });
      expect(answer.status).toBe(403);
      expect(answer.headers["access-control-allow-origin"]).toBeUndefined();
      expect(api.coordinator.tasks.size).toBe(0);
    },
  );

  test.each(["cross-site", "same-site"])("Sec-Fetch-Site: %s is refused", async (site) => {
    expect((await api.ask({ ...question, headers: { "sec-fetch-site": site } })).status).toBe(403);
  });
});

test("our own names and our own origin are let in", async () => {
  const { port } = api;
  for (const host of [
    `127.0.0.1:${port}`,
    `localhost:${port}`,
    `LOCALHOST:${port}`,
    `[::1]:${port}`,
    "studio.tail1234.ts.net",
    `studio.tail1234.ts.net:${port}`,
  ]) {
    expect((await api.ask({ path: "/api/v1/cluster", headers: { host } })).status).toBe(200);
    expect(
      (
        await api.ask({
          path: "/api/v1/cluster",
          headers: { host, origin: `http://${host.toLowerCase()}`, "sec-fetch-site": "same-origin" },
        })
      ).status,
    ).toBe(200);
  }
});

test("every answer carries the security headers, errors too", async () => {
  for (const question of [
    { path: "/healthz" },
    { path: "/api/v1/cluster" },
    { path: "/nothing" },
    { path: "/", headers: { host: "evil.example" } },
  ]) {
    expect((await api.ask(question)).headers).toMatchObject({
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      "x-frame-options": "DENY",
      "content-security-policy": expect.stringContaining("default-src 'none'") as string,
    });
  }
});

test("a token in the URL, in another scheme or in a cookie is no token", async () => {
  const { admin } = api.tokens;
  expect((await api.ask({ path: `/api/v1/cluster?token=${admin}`, headers: { authorization: undefined } })).status).toBe(401);
  expect((await api.ask({ path: "/api/v1/cluster", headers: { authorization: `Basic ${admin}` } })).status).toBe(401);
  expect((await api.ask({ path: "/api/v1/cluster", headers: { authorization: undefined, cookie: `token=${admin}` } })).status).toBe(401);
  expect((await api.ask({ path: "/api/v1/cluster", headers: { authorization: `bearer ${admin}` } })).status).toBe(200);
});

test("a revoked token is refused at once, also on a connection that stands", async () => {
  const own = await startApi();
  const keep = { connection: "keep-alive" };
  expect((await own.ask({ path: "/api/v1/cluster", headers: keep })).status).toBe(200);
  own.coordinator.rows.delete(hashToken(own.tokens.admin));
  expect((await own.ask({ path: "/api/v1/cluster", headers: keep })).status).toBe(401);
  await own.close();
});

test("wrong tokens are limited, on loopback too, and then no token is looked at", async () => {
  const clock = new HandClock();
  const own = await startApi({ clock });
  for (let n = 0; n < AUTH_FAILURES.max; n++) {
    expect((await own.ask({ path: "/api/v1/cluster", headers: { authorization: `Bearer ${createToken().token}` } })).status).toBe(401);
  }
  const answer = await own.ask({ path: "/api/v1/cluster" });
  expect([answer.status, answer.headers["retry-after"], answer.json.code]).toEqual([429, "60", "overloaded"]);
  expect(own.coordinator.guesses).toEqual(["127.0.0.1"]);
  clock.advance(AUTH_FAILURES.windowMs);
  expect((await own.ask({ path: "/api/v1/cluster" })).status).toBe(200);
  await own.close();
});

test("a request without a token spends no failures", async () => {
  const own = await startApi();
  for (let n = 0; n <= AUTH_FAILURES.max; n++) await own.ask({ path: "/api/v1/cluster", headers: { authorization: undefined } });
  expect((await own.ask({ path: "/api/v1/cluster" })).status).toBe(200);
  await own.close();
});

test.each(["0.0.0.0", "::", ""])("it does not listen on every address (%j)", async (host) => {
  const opening = openApi({ coordinator: api.coordinator, host, port: 0, log: silentLog, clock: new HandClock() });
  await expect(opening).rejects.toMatchObject({ code: "config_invalid" });
});

test("a port that is taken is told as such", async () => {
  const opening = openApi({ coordinator: api.coordinator, host: "127.0.0.1", port: api.port, log: silentLog, clock: new HandClock() });
  await expect(opening).rejects.toMatchObject({ code: "port_taken" });
});
