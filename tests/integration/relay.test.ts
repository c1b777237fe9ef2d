/** Two control nodes' APIs, real servers over fake coordinators: one leads, one stands by. */
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openClient } from "@openclaw-cluster/contract/client/client";
import { nodeTransport } from "@openclaw-cluster/contract/client/node-transport";
import { NodeId } from "@openclaw-cluster/contract/ids";
import type { ClusterEvent } from "@openclaw-cluster/contract/events";
import { STALE_HEADER, type Relaying } from "../../cluster/src/api/relay.ts";
import { startApi, type TestApi } from "../support/api-server.ts";
import { until } from "../support/daemon.ts";
import { lentModel } from "../support/fake-models.ts";

let leader: TestApi;
let standby: TestApi;
let over: AbortController;
let present: { url: string; signal: AbortSignal } | undefined;
let staleMs = 0;
let freshness: Relaying["freshness"];
/** Of the leader's administrator, whom the standby knows too, as both read one store. */
let token: string;

beforeEach(async () => {
  [leader, standby] = [await startApi(), await startApi()];
  over = new AbortController();
  present = { url: leader.url, signal: over.signal };
  staleMs = 0;
  freshness = async () => ({ staleMs });
  token = leader.tokens.admin;
  standby.coordinator.token = (hash) => leader.coordinator.token(hash);
  const relaying: Relaying = { leader: () => present, freshness: () => freshness() };
  standby.takeRole({ coordinator: standby.coordinator, relaying });
});
afterEach(async () => {
  await standby.close();
  await leader.close();
});

const asked = (question: Parameters<TestApi["ask"]>[0]) =>
  standby.ask({ ...question, headers: { authorization: `Bearer ${token}`, ...question.headers } });

test("what changes something is done by whoever leads, and its answer comes back as it is", async () => {
  const answer = await asked({
    method: "POST",
    path: "/api/v1/tasks",
    body: { kind: "echo", input: {} },
    headers: { "idempotency-key": "k1" },
  });
  expect(answer.status).toBe(202);
  expect(leader.coordinator.tasks.size).toBe(1);
  expect(standby.coordinator.tasks.size).toBe(0);
  expect(leader.coordinator.requests[0]?.idempotency?.key).toBe("k1");
  const refused = await asked({ method: "POST", path: "/api/v1/tasks", body: { kind: "nonsense" } });
  expect(refused).toMatchObject({ status: 400, json: { code: "bad_request" } });
});

test("what can be read here is read here, and says how old it may be where no quorum has confirmed it", async () => {
  await standby.coordinator.submit({ owner: "me", specs: [{ kind: "echo", input: {} }] });
  const fresh = await asked({ path: "/api/v1/tasks" });
  expect(fresh.json.tasks).toHaveLength(1);
  expect(fresh.headers[STALE_HEADER]).toBeUndefined();
  staleMs = 4_200;
  present = undefined;
  const stale = await asked({ path: "/api/v1/tasks/t1" });
  expect(stale).toMatchObject({ status: 200, headers: { [STALE_HEADER]: "4200" } });
});

test("what nodes lend is known to whoever leads alone", async () => {
  leader.coordinator.lent = [lentModel("qwen3:8b")];
  standby.coordinator.lent = [lentModel("llama3")];
  const { status, json } = await asked({ path: "/api/v1/models" });
  expect([status, json]).toEqual([200, { models: [lentModel("qwen3:8b")] }]);
});

test("whoever cannot be sure that it leads answers nothing, until it is or stands by", async () => {
  let isSure = true;
  standby.takeRole({ coordinator: standby.coordinator, holds: () => isSure });
  expect(await asked({ path: "/api/v1/tasks" })).toMatchObject({ status: 200 });
  isSure = false;
  expect(await asked({ path: "/api/v1/tasks" })).toMatchObject({ status: 503, json: { code: "unavailable" } });
  expect(await asked({ path: "/v1/models" })).toMatchObject({ status: 503, json: { error: { code: "unavailable" } } });
});

test("whether it lives is answered without a quorum's word", async () => {
  freshness = () => new Promise(() => undefined);
  for (const path of ["/healthz", "/openapi.json"]) expect(await asked({ path })).toMatchObject({ status: 200 });
});

test("without a leader a change is refused for a while, and its caller may ask again", async () => {
  present = undefined;
  const answer = await asked({ method: "POST", path: "/api/v1/tasks", body: { kind: "echo", input: {} } });
  expect(answer).toMatchObject({ status: 503, json: { code: "unavailable" }, headers: { "retry-after": "1" } });
});

test("a request for a model is refused in OpenAI's words, as whoever leads would", async () => {
  const question = { method: "POST", path: "/v1/chat/completions", body: { model: "auto", messages: [] } };
  present = undefined;
  const refused = await asked(question);
  expect(refused).toMatchObject({ status: 503, json: { error: { type: "server_error", code: "unavailable" } } });
  expect(Number(refused.headers["retry-after"])).toBeGreaterThanOrEqual(1);
  expect(await standby.ask({ ...question, headers: { authorization: "Bearer wrong" } })).toMatchObject({
    status: 401,
    json: { error: { type: "authentication_error" } },
  });
});

test("a stranger is not relayed, and neither is what proves itself", async () => {
  const stranger = await standby.ask({ path: "/api/v1/queue", headers: { authorization: "Bearer nobody" } });
  expect(stranger.status).toBe(401);
  const session = await asked({ method: "POST", path: "/api/v1/nodes/studio/session", body: {} });
  expect(session).toMatchObject({ status: 503, json: { code: "unavailable" } });
  expect(session.json.detail).toContain(leader.url);
});

test("a request is relayed once: two that each take the other for the leader refuse it", async () => {
  leader.takeRole({
    coordinator: leader.coordinator,
    relaying: { leader: () => ({ url: standby.url, signal: over.signal }), freshness: async () => ({ staleMs: 0 }) },
  });
  const answer = await asked({ method: "POST", path: "/api/v1/tasks", body: { kind: "echo", input: {} } });
  expect(answer).toMatchObject({ status: 503, json: { code: "unavailable" } });
});

test("events come through as they happen, and go on with the next leader", async () => {
  const client = openClient({ url: standby.url, token, transport: nodeTransport() });
  const seen: ClusterEvent[] = [];
  const leaving = new AbortController();
  const reading = (async () => {
    for await (const event of client.events({ signal: leaving.signal })) seen.push(event);
  })().catch(() => undefined);
  await until("it listens", () => (leader.coordinator.listening > 0 ? true : undefined));
  leader.coordinator.publish({ id: 1, at: 1, type: "node", node: NodeId.parse("studio"), state: "ready", draining: false });
  await until("the event has come through", () => (seen.length > 0 ? true : undefined));
  const next = await startApi();
  const old = over;
  over = new AbortController();
  present = { url: next.url, signal: over.signal };
  next.coordinator.token = (hash) => leader.coordinator.token(hash);
  old.abort();
  await until("it listens to the next one", () => (next.coordinator.listening > 0 ? true : undefined));
  expect(seen).toContainEqual(expect.objectContaining({ type: "node", node: "studio" }));
  leaving.abort();
  await reading;
  await client.close();
  await next.close();
});

test("a leader that was stopped: what hangs at it is cut as soon as another leads", async () => {
  const hung: Server = createServer(() => undefined).listen(0, "127.0.0.1");
  await once(hung, "listening");
  present = { url: `http://127.0.0.1:${(hung.address() as { port: number }).port}`, signal: over.signal };
  const arrived = once(hung, "connection");
  const cut = asked({ method: "POST", path: "/api/v1/tasks", body: { kind: "echo", input: {} } });
  const [socket] = (await arrived) as [Socket];
  over.abort();
  await expect(cut).rejects.toThrow();
  socket.destroy();
  hung.close();
});
