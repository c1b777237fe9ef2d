/** Submits beyond what the coordinator takes: refused early, and only they. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startApi, type TestApi } from "../../../tests/support/api-server.ts";
import { AUTH_FAILURES } from "./auth-failures.ts";

let api: TestApi;
beforeEach(async () => {
  api = await startApi();
});
afterEach(() => api.close());

const spec = { kind: "echo", input: {} };
const submit = (headers: Record<string, string | undefined> = {}) =>
  api.ask({ method: "POST", path: "/api/v1/tasks", body: spec, headers });
const full = (): ClusterError => new ClusterError("overloaded", "full", { retryAfterMs: 2_400 });

test("a submit that may not come in is answered at once, its body unread; everything else is served", async () => {
  await submit();
  api.coordinator.refused = full;
  const refused = await submit();
  expect([refused.status, refused.json.code, refused.headers["retry-after"]]).toEqual([429, "overloaded", "3"]);
  expect(refused.headers).toMatchObject({ "content-type": "application/problem+json", "cache-control": "no-store" });
  expect(api.coordinator.requests).toHaveLength(1);
  expect((await api.ask({ path: "/api/v1/tasks/t1" })).status).toBe(200);
  expect((await api.ask({ method: "POST", path: "/api/v1/tasks/t1/cancel" })).status).toBe(202);
  // A query keeps it off the short way, not out of the coordinator's sight.
  expect((await api.ask({ method: "POST", path: "/api/v1/tasks?plan=false", body: spec })).status).toBe(429);
  expect(api.coordinator.requests).toHaveLength(1);
});

test("whom the coordinator lets in is served while others are refused", async () => {
  const [other] = [...api.coordinator.rows.values()].filter(({ scope }) => scope === "submitter");
  api.coordinator.refused = (owner) => (owner === other?.id ? undefined : full());
  expect((await submit()).status).toBe(429);
  expect((await submit({ authorization: `Bearer ${api.tokens.submitter}` })).status).toBe(202);
});

test("a stranger is not told that the coordinator is overloaded, and its tries are counted once each", async () => {
  api.coordinator.refused = full;
  for (let n = 1; n < AUTH_FAILURES.max; n++) expect((await submit({ authorization: "Bearer occ_wrong" })).status).toBe(401);
  expect((await submit({ authorization: `Bearer ${api.tokens.viewer}` })).status).toBe(403);
  expect((await submit({ host: "evil.example" })).status).toBe(421);
});
