import { OPERATIONS, type OperationName } from "@openclaw-cluster/contract/operations";
import { Problem } from "@openclaw-cluster/contract/errors";
import { permits, Scope } from "@openclaw-cluster/contract/scopes";
import { SseReader } from "@openclaw-cluster/contract/client/sse";
import { ClusterEvent } from "@openclaw-cluster/contract/events";
import { LENT_MODELS_MAX, type LentModel } from "@openclaw-cluster/contract/models";
import { OutputChunk } from "@openclaw-cluster/contract/wire";
import type { TaskId } from "@openclaw-cluster/contract/ids";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startApi, type Question, type TestApi } from "../../../tests/support/api-server.ts";
import { lentModel } from "../../../tests/support/fake-models.ts";
import { deskOf } from "../../../tests/support/model-sight.ts";
import { plantedRequests } from "../../../tests/support/planted-tasks.ts";
import { silentLog } from "../system/log.ts";
import { systemClock } from "../system/clock.ts";
import { tokenId } from "../trust/token.ts";
import { mountRoutes } from "./routes.ts";
import { openBodies } from "./body.ts";
import { openGate } from "./gate.ts";
import { openStreams } from "./stream.ts";

const names = Object.keys(OPERATIONS) as OperationName[];
const echo = { kind: "echo", input: { value: "hello" } };
const SIGNED = { at: 1, nonce: "n".repeat(43), signature: "s".repeat(86) };

/** One good request for each operation; t1 is queued, t2 has succeeded. */
const GOOD: Record<Exclude<OperationName, "events" | "logs">, Omit<Question, "method">> = {
  submit: { path: "/tasks", body: echo },
  listTasks: { path: "/tasks?state=queued&state=running&label=team=a&limit=2" },
  deadLetters: { path: "/tasks/dead?cursor=9" },
  bulk: { path: "/tasks/bulk", body: { action: "cancel", filter: { state: "queued", label: "team=a" }, dryRun: true } },
  getTask: { path: "/tasks/t1?wait=0.01" },
  why: { path: "/tasks/t1/why" },
  attempts: { path: "/tasks/t1/attempts" },
  result: { path: "/tasks/t2/result" },
  cancel: { path: "/tasks/t1/cancel" },
  retry: { path: "/tasks/t2/retry" },
  answer: { path: "/tasks/t1/answer", body: { decision: "retry" } },
  queue: { path: "/queue?limit=5" },
  cluster: { path: "/cluster" },
  health: { path: "/cluster/health" },
  backup: { path: "/backups" },
  backups: { path: "/backups" },
  migrateStore: { path: "/store/migration", body: { to: "etcd", endpoints: ["http://127.0.0.1:2379"] } },
  storeMigration: { path: "/store/migration" },
  nodes: { path: "/nodes" },
  models: { path: "/models" },
  modelRequests: { path: "/models/requests?node=studio&model=auto&limit=5" },
  modelRequest: { path: "/models/requests/aaaaaaaa" },
  planModel: { path: "/models/plan", body: { model: "auto", messages: [{ role: "user", content: "hello" }], stream: true } },
  nodesOnline: { path: "/nodes/online" },
  nodesWithSkill: { path: "/nodes/skills/summarize" },
  enrol: { path: "/nodes", body: { id: "nas2", publicKey: `U${"A".repeat(55)}` } },
  audit: { path: "/audit?after=0&limit=10" },
  tokens: { path: "/tokens" },
  makeToken: { path: "/tokens", body: { name: "ci", scope: "submitter", ttlMs: 86_400_000 } },
  rotateToken: { path: "/tokens/77777777/rotate", body: { graceMs: 60_000 } },
  revokeToken: { path: "/tokens/77777777" },
  invite: { path: "/join-tokens", body: { approve: true } },
  join: {
    path: "/join",
    body: {
      ...{ invite: "abcdefgh", node: "nas2", publicKey: `U${"A".repeat(55)}`, hostname: "nas", os: "linux" },
      ...{ nonce: "n".repeat(43), proof: "p".repeat(43), signature: "s".repeat(86) },
    },
  },
  session: { path: "/nodes/studio/session", body: { nonce: "n".repeat(43), signature: "s".repeat(86) } },
  probe: { path: "/nodes/studio/probe", body: { ...SIGNED, kind: "echo" } },
  leave: { path: "/nodes/studio/leave", body: { ...SIGNED, wish: "drain" } },
  rotate: { path: "/nodes/studio/key", body: { ...SIGNED, publicKey: `U${"A".repeat(55)}`, possession: "p".repeat(86) } },
  approveNode: { path: "/nodes/studio/approve" },
  revokeNode: { path: "/nodes/studio/revoke" },
  node: { path: "/nodes/studio" },
  nodeHealth: { path: "/nodes/studio/health" },
  patchNode: { path: "/nodes/studio", body: { labels: { gpu: "yes", old: null }, slots: 3 } },
  drain: { path: "/nodes/studio/drain" },
  resume: { path: "/nodes/studio/resume" },
  shutdownNode: { path: "/nodes/studio/shutdown" },
  promoteNode: { path: "/nodes/studio/promote", body: { witness: true } },
  demoteNode: { path: "/nodes/studio/demote" },
  removeNode: { path: "/nodes/studio" },
};
const plain = Object.keys(GOOD) as (keyof typeof GOOD)[];

let api: TestApi;
beforeAll(async () => {
  api = await startApi({ models: deskOf(plantedRequests()) });
  await api.coordinator.addToken({ id: "77777777", hash: "none", scope: "viewer", name: "old", createdAt: 0 });
  await api.ask({ method: "POST", path: "/api/v1/tasks", body: { tasks: [echo, echo] } });
  api.coordinator.finish(["t2" as TaskId], { result: "hello" });
});
afterAll(() => api.close());

function good(name: keyof typeof GOOD): Question {
  return { ...GOOD[name], path: `/api/v1${GOOD[name].path}`, method: OPERATIONS[name].method.toUpperCase() };
}

test.each(plain)("%s answers as its schema says", async (name) => {
  const answer = await api.ask(good(name));
  expect(answer.text).not.toBe("");
  expect(answer.status).toBe(OPERATIONS[name].status);
  expect(answer.headers["content-type"]).toBe("application/json");
  expect(OPERATIONS[name].reply.safeParse(answer.json).error).toBeUndefined();
});

const isProof = (name: OperationName): boolean => OPERATIONS[name].scope === "proof";

test.each(names.filter((name) => !isProof(name)))("%s wants a token, and one with its scope", async (name) => {
  const question =
    name === "events" || name === "logs" ? { path: name === "events" ? "/api/v1/events" : "/api/v1/tasks/t1/logs" } : good(name);
  const without = await api.ask({ ...question, headers: { authorization: undefined } });
  expect(without.status).toBe(401);
  expect(Problem.parse(without.json).code).toBe("unauthorized");
  expect(without.headers["www-authenticate"]).toBe("Bearer");
  for (const scope of Scope.options.filter((held) => !permits(held, OPERATIONS[name].scope as Scope))) {
    const answer = await api.ask({ ...question, headers: { authorization: `Bearer ${api.tokens[scope]}` } });
    expect(answer.status).toBe(403);
    expect(Problem.parse(answer.json)).toMatchObject({
      code: "forbidden",
      detail: expect.stringContaining(OPERATIONS[name].scope) as string,
    });
  }
});

test("the fields of a request arrive where they belong", async () => {
  await api.ask(good("listTasks"));
  expect(api.coordinator.listFilters.at(-1)).toEqual({ states: ["queued", "running"], label: ["team", "a"] });
  await api.ask({ path: "/api/v1/tasks?dead=true&alike=agent_failed-00c0ffee" });
  expect(api.coordinator.listFilters.at(-1)).toEqual({ dead: true, alike: "agent_failed-00c0ffee" });
  await api.ask({ path: "/api/v1/tasks?dead=false" });
  expect(api.coordinator.listFilters.at(-1)).toEqual({});
  await api.ask({ path: "/api/v1/tasks?mine=true" });
  expect(api.coordinator.listFilters.at(-1)).toEqual({ owner: "admin" });
  await api.ask({ path: "/api/v1/tasks?owner=ann&mine=false" });
  expect(api.coordinator.listFilters.at(-1)).toEqual({ owner: "ann" });
  expect((await api.ask({ path: "/api/v1/tasks?owner=ann&mine=true" })).json.code).toBe("bad_request");
  await api.ask(good("bulk"));
  expect(api.coordinator.orders.at(-1)).toEqual({
    filter: { states: ["queued"], label: ["team", "a"] },
    act: { kind: "cancel" },
    dryRun: true,
  });
  await api.ask({
    method: "POST",
    path: "/api/v1/tasks/bulk",
    body: { action: "answer", decision: "fail", filter: { all: true }, cursor: 7 },
  });
  expect(api.coordinator.orders.at(-1)).toEqual({ filter: {}, act: { kind: "answer", decision: "fail" }, before: 7 });
  await api.ask(good("patchNode"));
  expect(api.coordinator.patches.at(-1)).toEqual({ labels: { gpu: "yes", old: null }, slots: 3 });
  expect((await api.ask(good("drain"))).json.draining).toBe(true);
  expect((await api.ask(good("resume"))).json.draining).toBe(false);
});

test("a submit and a plan are of the token that asks, and of its user; no field of a task says it", async () => {
  const as = { headers: { authorization: `Bearer ${api.tokens.submitter}` }, method: "POST" };
  const by = { owner: "submitter", token: tokenId(api.tokens.submitter) };
  await api.ask({ ...as, path: "/api/v1/tasks", body: { ...echo, user: "admin" } });
  expect(api.coordinator.requests.at(-1)).toMatchObject(by);
  await api.ask({ ...as, path: "/api/v1/tasks?plan=true", body: echo });
  expect(api.coordinator.planners.at(-1)).toEqual(by);
});

test("nothing is done to every task by accident", async () => {
  const before = api.coordinator.orders.length;
  for (const body of [
    { action: "cancel" },
    { action: "cancel", filter: {} },
    { action: "cancel", filter: { all: false } },
    { action: "retry", filter: { state: [] } },
    { action: "retry", filter: { sate: "failed" } },
    { action: "answer", filter: { all: true } },
    { action: "delete", filter: { all: true } },
  ]) {
    const answer = await api.ask({ method: "POST", path: "/api/v1/tasks/bulk", body });
    expect([answer.status, Problem.parse(answer.json).code]).toEqual([400, "bad_request"]);
  }
  expect(api.coordinator.orders).toHaveLength(before);
});

test("a page leads to the next one", async () => {
  const own = await startApi();
  await own.ask({ method: "POST", path: "/api/v1/tasks", body: { tasks: [echo, echo, echo] } });
  const first = (await own.ask({ path: "/api/v1/tasks?limit=2" })).json;
  expect(first.tasks.map(({ id }: { id: string }) => id)).toEqual(["t3", "t2"]);
  const second = (await own.ask({ path: `/api/v1/tasks?limit=2&cursor=${first.next}` })).json;
  expect(second.tasks.map(({ id }: { id: string }) => id)).toEqual(["t1"]);
  expect(second.next).toBeUndefined();
  await own.close();
});

test("only an eligible skill by its whole name counts", async () => {
  expect((await api.ask({ path: "/api/v1/nodes/skills/summarize" })).json.nodes).toHaveLength(1);
  expect((await api.ask({ path: "/api/v1/nodes/skills/summ" })).json.nodes).toEqual([]);
  expect((await api.ask({ path: "/api/v1/nodes/skills/weather" })).json.nodes).toEqual([]);
});

test("models come by id, then by node and endpoint, and no more of them than the schema says", async () => {
  const own = await startApi();
  const listed = async (): Promise<LentModel[]> => (await own.ask({ path: "/api/v1/models" })).json.models;
  expect(await listed()).toEqual([]);
  own.coordinator.lent = [
    lentModel("qwen3:8b", { node: "vm" }),
    lentModel("llama3", { endpoint: "spare" }),
    lentModel("llama3"),
    lentModel("qwen3:8b", { node: "nas" }),
  ];
  const places = (await listed()).map(({ id, node, endpoint }) => `${id} ${node} ${endpoint}`);
  expect(places).toEqual(["llama3 studio ollama", "llama3 studio spare", "qwen3:8b nas ollama", "qwen3:8b vm ollama"]);
  own.coordinator.lent = Array.from({ length: LENT_MODELS_MAX + 1 }, (_, n) => lentModel(`m${n}`));
  expect(await listed()).toHaveLength(LENT_MODELS_MAX);
  await own.close();
});

test("wait answers when the task ends", async () => {
  const { id } = (await api.ask({ method: "POST", path: "/api/v1/tasks", body: echo })).json;
  const listening = api.coordinator.listening;
  const waiting = api.ask({ path: `/api/v1/tasks/${id}?wait=30` });
  await expect.poll(() => api.coordinator.listening).toBeGreaterThan(listening);
  api.coordinator.finish([id]);
  expect((await waiting).json.state).toBe("succeeded");
});

test("the streams' events are as their schemas say", async () => {
  api.coordinator.output.set("t2" as TaskId, [
    { task: "t2" as TaskId, attempt: 1, n: 0, at: 1, stream: "stdout", text: "hi\n", last: true },
  ]);
  const [chunk] = new SseReader().push((await api.ask({ path: "/api/v1/tasks/t2/logs" })).text);
  expect(OutputChunk.parse(JSON.parse(chunk?.data ?? "")).text).toBe("hi\n");
  for (const event of api.coordinator.kept) expect(ClusterEvent.safeParse(event).error).toBeUndefined();
});

test("an operation without a handler or a scope stops the start", () => {
  const { coordinator } = api;
  const parts = {
    coordinator,
    gate: openGate({ coordinator, hosts: new Set(), clock: systemClock, log: silentLog }),
    bodies: openBodies(),
    streams: openStreams(systemClock),
    clock: systemClock,
    log: silentLog,
  };
  expect(() => mountRoutes(parts, { ...OPERATIONS, invent: { ...OPERATIONS.queue, path: "/invent" } })).toThrow(
    "operation invent has no handler",
  );
  expect(() => mountRoutes(parts, { queue: { ...OPERATIONS.queue, scope: "" as "viewer" } })).toThrow("operation queue has no scope");
  const { others: _others, ...silent } = OPERATIONS.cancel;
  expect(() => mountRoutes(parts, { cancel: silent })).toThrow("/tasks/{id}/cancel does not say what becomes of those of others");
  const { others: _its, ...mute } = OPERATIONS.modelRequests;
  expect(() => mountRoutes(parts, { modelRequests: mute })).toThrow("/models/requests does not say what becomes of those of others");
});

test("probes: the bare one is open, the others are not", async () => {
  const bare = await api.ask({ path: "/healthz", headers: { authorization: undefined } });
  expect([bare.status, bare.text]).toEqual([200, '{"status":"ok"}']);
  for (const path of ["/readyz", "/metrics", "/openapi.json", "/", "/api/v1/nothing", "/healthz/more"]) {
    expect((await api.ask({ path, headers: { authorization: undefined } })).status).toBe(401);
  }
  expect((await api.ask({ path: "/readyz" })).json.status).toBe("ok");
});

test("metrics are in the Prometheus text format", async () => {
  const { text, headers } = await api.ask({ path: "/metrics" });
  expect(headers["content-type"]).toBe("text/plain; version=0.0.4; charset=utf-8");
  expect(text).toContain('openclaw_cluster_node_tasks_total{node="studio",outcome="succeeded"} 3\n');
  expect(text).toContain("openclaw_cluster_bus_connected 1\n");
  for (const line of text.trimEnd().split("\n"))
    expect(line).toMatch(/^# (HELP|TYPE) openclaw_cluster_\w+ .+$|^openclaw_cluster_\w+(\{(\w+="[^"]*",?)+\})? [0-9.e+-]+$/);
});
