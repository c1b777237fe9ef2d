/** What a task asks of this node's models, over a real router and a real shelf, of a scripted server. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startModelShape, type ModelShape } from "../../../tests/support/model-shapes.ts";
import { Policy } from "../core/policy.ts";
import { lends } from "../core/model-rule.ts";
import type { ModelReply } from "../executors/model.ts";
import { ModelFault, type ModelRequest, type ModelRouter, type ModelShelf } from "../models/models.ts";
import { NodeRouter } from "../models/routing/node-router.ts";
import { Router } from "../models/routing/router.ts";
import { openModelShelf } from "../models/servers/shelf.ts";
import { systemClock } from "../system/clock.ts";
import { silentLog } from "../system/log.ts";
import { openModelTasks, type ModelTasks } from "./model-tasks.ts";

const STUDIO = "studio" as NodeId;
const never = new AbortController().signal;
const NOON = { now: Date.UTC(2026, 5, 1, 12), timeZone: "UTC", onBattery: false };
const hello = { path: "chat", body: { model: "m", messages: [{ role: "user", content: "hello" }] } } as const;

let server: ModelShape;
let office: ModelShape;
let shelf: ModelShelf;
let router: NodeRouter;
let policy: Policy;
let tasks: ModelTasks;
let told: () => void;

beforeEach(async () => {
  server = await startModelShape("ollama", { models: [{ id: "m" }, { id: "secret" }, { id: "e", embeddings: true }] });
  office = await startModelShape("openai", { models: [{ id: "gpt" }] });
  const endpoints = [
    { name: "one", url: server.url },
    { name: "two", url: server.url.replace("127.0.0.1", "localhost") },
    { name: "office", url: office.url, paid: true },
  ];
  shelf = openModelShelf({ endpoints, wellKnown: false, clock: systemClock, log: silentLog });
  await shelf.look();
  policy = Policy.parse({ version: 1, allow: { models: ["*"] }, deny: { models: ["secret"] } });
  const cluster = new Router({ aliases: () => ({}), clock: systemClock, log: silentLog });
  const ended = new Promise<void>(() => undefined);
  const models = () => shelf.models.filter(({ id }) => lends(policy, id, NOON));
  cluster.lends(STUDIO, {
    ...{ ended, close: () => undefined, onChange: () => ({ stop: () => undefined }) },
    get models() {
      return models();
    },
    ask: (question, _asker, signal) => shelf.ask(question, signal),
  });
  router = new NodeRouter(cluster);
  router.cluster = cluster;
  const listeners = new Set<() => void>();
  told = () => listeners.forEach((listener) => listener());
  const rule = {
    lends: ({ id }: { id: string }) => lends(policy, id, NOON),
    onChange(listener: () => void) {
      listeners.add(listener);
      return { stop: () => listeners.delete(listener) };
    },
  };
  tasks = openModelTasks({ node: STUDIO, router, shelf, rule, policy: { current: () => policy } });
});
afterEach(async () => {
  shelf.close();
  await server.stop();
  await office.stop();
});

const CUT = new ModelFault("unreachable", "the line has ended");
const answering = (answer: ModelRouter["answer"]): ModelRouter => ({ answer, list: () => Promise.resolve([]) });

/** How it ended: the reply's kind, or an error's code. */
const codeOf = (asking: Promise<unknown>): Promise<unknown> =>
  asking.then(
    (reply) => (reply as ModelReply).kind,
    (error: unknown) => (error instanceof ClusterError ? error.code : error),
  );

test("what is lent is told, once each, and nothing that costs money (T1)", () => {
  expect(shelf.models.map(({ id }) => id)).toContain("gpt");
  expect(tasks.told()?.map(({ id }) => id)).toEqual(["m", "e"]);
  expect(Object.keys(tasks.models()[0] ?? {}).toSorted()).toEqual(["can", "contextTokens", "digest", "id"]);
});

test("nothing is told where the policy lends nothing, or has no tasks for models", () => {
  for (const own of [{ allow: {} }, { allow: { models: ["*"] }, deny: { kinds: ["model"] } }]) {
    policy = Policy.parse({ version: 1, ...own });
    expect(tasks.told()).toBeUndefined();
  }
});

test("a listener hears of another list, and of no look (T3)", async () => {
  let heard = 0;
  tasks.onChange(() => heard++);
  server.settings.busy = 2;
  await shelf.look();
  told();
  expect(heard).toBe(0);
  server.add({ id: "n" });
  await shelf.look();
  expect(heard).toBe(1);
  policy = Policy.parse({ version: 1, allow: { models: ["m"] } });
  told();
  expect([heard, tasks.told()?.map(({ id }) => id)]).toEqual([2, ["m"]]);
});

test("an answer, whole, of which model it was", async () => {
  expect(await tasks.ask(hello, never)).toMatchObject({
    ...{ kind: "answered", status: 200, model: "m" },
    json: { choices: [{ message: { content: "alpha bravo charlie delta" }, finish_reason: "stop" }] },
  });
  expect(await tasks.ask({ path: "embeddings", body: { model: "e", input: ["a", "b"] } }, never)).toMatchObject({
    json: { data: [{ embedding: [0.1, 0.2, 0.3] }, { index: 1 }] },
  });
});

test.each<[string, string, () => unknown]>([
  ["a server that fails", "model_failed", () => (server.settings.mode = "error")],
  ["an answer that is a page", "model_failed", () => (server.settings.mode = "garbage")],
  ["an answer that is cut", "model_failed", () => (server.settings.mode = "dieMidStream")],
  ["a server that is gone", "model_failed", () => server.stop()],
  ["a model that is not lent any more", "unasked", () => (policy = Policy.parse({ version: 1 }))],
  ["a line that is cut while it asks", "model_unavailable", () => (router.cluster = answering(() => Promise.reject(CUT)))],
  ["no line to whoever leads", "unasked", () => (router.cluster = undefined)],
])("%s: %s", async (_what, code, change) => {
  await change();
  expect(await codeOf(tasks.ask(hello, never))).toBe(code);
});

test("it waits behind people, and is asked here or nowhere", async () => {
  const asked: ModelRequest[] = [];
  const { cluster } = router;
  router.cluster = answering((request, signal) => (asked.push(request), (cluster as ModelRouter).answer(request, signal)));
  await tasks.ask(hello, never);
  expect(asked).toEqual([
    { path: "/chat/completions", body: hello.body, lane: "batch", on: STUDIO, asker: { token: STUDIO, name: "node:studio" } },
  ]);
});

test("a prompt that no context holds, and what the model cannot do, are not asked again", async () => {
  const long = { role: "user", content: "a ".repeat(50_000) };
  expect(await codeOf(tasks.ask({ path: "chat", body: { model: "m", messages: [long] } }, never))).toBe("model_refused");
  expect(await codeOf(tasks.ask({ path: "embeddings", body: { model: "m", input: "a" } }, never))).toBe("model_refused");
});

test("a place that failed again and again is not asked, and the task told so (T2)", async () => {
  server.settings.mode = "error";
  for (let count = 0; count < 5; count++) await codeOf(tasks.ask(hello, never));
  const asked = server.questions.length;
  expect(await codeOf(tasks.ask(hello, never))).toBe("unasked");
  expect(server.questions).toHaveLength(asked);
});

test("an abort ends the request at the server", async () => {
  server.settings.mode = "endless";
  const controller = new AbortController();
  const asking = codeOf(tasks.ask(hello, controller.signal));
  await expect.poll(() => server.questions.length, { timeout: 5_000 }).toBe(1);
  controller.abort();
  expect(await asking).not.toBe("answered");
  await expect.poll(() => server.questions[0]?.aborted, { timeout: 5_000 }).toBe(true);
});
