import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { ClusterId, NodeId, TaskId } from "@openclaw-cluster/contract/ids";
import type { ModelInput } from "@openclaw-cluster/contract/model-input";
import type { Outcome } from "@openclaw-cluster/contract/wire";
import { afterAll, expect, test } from "vitest";
import { lends } from "../core/scheduling/fixtures.ts";
import { Policy } from "../core/policy.ts";
import { systemClock } from "../system/clock.ts";
import { silentLog } from "../system/log.ts";
import { modelExecutor, type LentModels, type ModelQuestion, type ModelReply } from "./model.ts";
import { openSchemaCheck } from "./schema-check.ts";

const schemas = openSchemaCheck(systemClock);
afterAll(() => schemas.close());

const OPEN = Policy.parse({ version: 1, allow: { models: ["*"] } });
const SCHEMA = { type: "object", properties: { n: { type: "integer" } }, required: ["n"] };
const HERE = [lends("big:70b", { can: { embeddings: true } }), lends("qwen3:8b")];

const said = (content: unknown, finish = "stop"): ModelReply => ({
  ...{ kind: "answered", status: 200 },
  json: {
    choices: [{ index: 0, message: { role: "assistant", content }, finish_reason: finish }],
    usage: { prompt_tokens: 7, completion_tokens: 2, total_tokens: 9 },
  },
  model: "qwen3:8b",
});

interface Run {
  readonly outcome: Promise<Outcome>;
  readonly asked: ModelQuestion[];
}

function run(
  input: ModelInput,
  ask: (signal: AbortSignal) => ModelReply | Promise<ModelReply>,
  more: { policy?: Policy; signal?: AbortSignal } = {},
): Run {
  const asked: ModelQuestion[] = [];
  const lent: LentModels = {
    models: () => HERE,
    async ask(question, signal) {
      asked.push(question);
      return ask(signal);
    },
  };
  const executor = modelExecutor({ lent, schemas, policy: { current: () => more.policy ?? OPEN }, clock: systemClock });
  const spec = { kind: "model" as const, input };
  const outcome = executor.run(spec, {
    cluster: "abcdefgh" as ClusterId,
    node: "studio" as NodeId,
    offer: { task: "t7" as TaskId, attempt: 1, epoch: 1, spec, submitter: { token: "annannan", name: "ann" } },
    signal: more.signal ?? new AbortController().signal,
    folder: "unused",
    log: silentLog,
    output: () => expect.unreachable("it prints nothing"),
    progress: () => undefined,
    acted: () => expect.unreachable("a replay is harmless (Q4)"),
  });
  return { outcome, asked };
}
const ended = (input: ModelInput, reply: ModelReply): Promise<Outcome> => run(input, () => reply).outcome;

test("an answer, with who gave it and what it took", async () => {
  const { outcome, asked } = run({ model: "QWEN3:8b", prompt: "hello" }, () => said("hi"));
  expect(await outcome).toEqual({
    kind: "succeeded",
    result: { text: "hi", finish: "stop", usage: { promptTokens: 7, completionTokens: 2 }, model: "qwen3:8b", node: "studio" },
  });
  // Q1: no alias is called so.
  expect(asked).toEqual([{ path: "chat", body: { model: "qwen3:8b@studio", messages: [{ role: "user", content: "hello" }] } }]);
});

test("which of its models answers is the router's choice, where the task names none", async () => {
  const { outcome, asked } = run({ prompt: "hello" }, () => said("hi"));
  await outcome;
  expect(asked[0]?.body["model"]).toBe("auto");
});

test("vectors in the order of the texts, and no others", async () => {
  const vectors = (...data: object[]): ModelReply => ({
    kind: "answered",
    status: 200,
    json: { data, usage: { prompt_tokens: 4 } },
    model: "big:70b",
  });
  const two = [
    { index: 1, embedding: [3, 4] },
    { index: 0, embedding: [1, 2] },
  ];
  expect(await ended({ embed: ["a", "b"] }, vectors(...two))).toEqual({
    kind: "succeeded",
    result: {
      embeddings: [
        [1, 2],
        [3, 4],
      ],
      usage: { promptTokens: 4 },
      model: "big:70b",
      node: "studio",
    },
  });
  expect(await ended({ embed: "a" }, vectors(...two))).toMatchObject({ kind: "failed", error: { code: "model_failed" } });
});

test("where a schema was asked for, only JSON that holds to it is an answer (Q2)", async () => {
  expect(await ended({ prompt: "x", schema: SCHEMA }, said('{"n": 7}'))).toMatchObject({
    kind: "succeeded",
    result: { text: '{"n": 7}', value: { n: 7 } },
  });
});

test.each<[string, string, string | null, string]>([
  ["schema", "stop", '{"n": "seven"}', "#/n"],
  ["not_json", "stop", "seven", "not JSON"],
  ["not_json", "stop", null, "not JSON"],
  ["cut", "length", '{"n": 7}', "cut"],
])("and any other is tried again: %s, %s %j", async (reason, finish, text, words) => {
  expect(await ended({ prompt: "x", schema: SCHEMA }, said(text, finish))).toEqual({
    kind: "failed",
    error: {
      code: "answer_invalid",
      message: expect.stringContaining(words) as string,
      data: { reason, answer: text ?? "" },
    },
  });
});

test("what was cut is an answer where nothing was said of its form", async () => {
  expect(await ended({ prompt: "x" }, said("hi", "length"))).toMatchObject({ kind: "succeeded", result: { finish: "length" } });
});

test.each<[string, { status: number; json: unknown }, string]>([
  ["a request that its server does not take", { status: 400, json: { error: { message: "no", code: "x" } } }, "model_refused"],
  ["an error that is a text", { status: 400, json: { error: "no" } }, "model_refused"],
  ["an error without a word", { status: 400, json: undefined }, "model_refused"],
  ["a server that failed", { status: 500, json: { error: { message: "no" } } }, "model_failed"],
  ["what is no completion", { status: 200, json: { choices: [] } }, "model_failed"],
  ["what is no JSON", { status: 200, json: undefined }, "model_failed"],
])("%s", async (_what, reply, code) => {
  expect(await ended({ prompt: "x" }, { kind: "answered", ...reply })).toMatchObject({ kind: "failed", error: { code } });
});

test("what the way to it says is the attempt's end, with the time after which to come again", async () => {
  const failing = (error: Error): Promise<Outcome> => run({ prompt: "x" }, () => Promise.reject(error)).outcome;
  expect(await failing(new ClusterError("throttled", "full", { retryAfterMs: 5 }))).toEqual({
    kind: "failed",
    error: { code: "throttled", message: "full" },
    retryAfterMs: 5,
  });
  expect(await failing(new ClusterError("policy_denied", "no"))).toMatchObject({ kind: "refused", error: { code: "policy_denied" } });
  await expect(failing(new Error("a bug"))).rejects.toThrow("a bug");
});

test("the policy is asked for whom it is (X4), and nobody else is then", async () => {
  for (const policy of [{ users: { allow: ["bob"] } }, { deny: { kinds: ["model"] } }, { deny: { models: ["qwen3:8b"] } }]) {
    const own = Policy.parse({ version: 1, allow: { models: ["*"] }, ...policy });
    const { outcome, asked } = run({ model: "qwen3:8b", prompt: "x" }, () => said("hi"), { policy: own });
    expect(await outcome).toMatchObject({ kind: "refused", error: { code: "policy_denied" } });
    expect(asked).toEqual([]);
  }
});

test("a model that is gone since the task was placed is looked for elsewhere", async () => {
  const { outcome, asked } = run({ model: "phi4", prompt: "x" }, () => said("hi"));
  expect(await outcome).toMatchObject({
    kind: "refused",
    error: { code: "model_unavailable", message: expect.stringContaining("phi4") as string },
  });
  expect(asked).toEqual([]);
});

test("where nobody was asked no try is spent (Q3)", async () => {
  expect(await ended({ prompt: "x" }, { kind: "unasked", reason: "left alone" })).toEqual({
    kind: "refused",
    error: { code: "model_unavailable", message: "left alone" },
  });
});

test("an abort ends the request (X1)", async () => {
  const controller = new AbortController();
  const { outcome } = run(
    { prompt: "x" },
    (signal) =>
      new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(new ClusterError("model_unavailable", "cut")))),
    { signal: controller.signal },
  );
  controller.abort("cancelled");
  expect(await outcome).toEqual({ kind: "cancelled" });
});
