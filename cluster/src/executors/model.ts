/**
 * The executor for one request to a language model that this node lends. The request goes the way of all requests for models, over
 * whoever leads, so that it waits in the same line behind those of people.
 *
 * Q1. It is asked here or nowhere: never of another node, never of a model that is not lent, never of one that costs money.
 * Q2. Where a schema was asked for, only what holds to it is an answer. What was cut holds to nothing.
 * Q3. Where nobody was asked, the attempt was none: the task goes to another node, and no try of its own is spent.
 * Q4. Whether it was asked does not matter to a replay: nothing is changed by it.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Json } from "@openclaw-cluster/contract/json";
import type { ModelInput } from "@openclaw-cluster/contract/model-input";
import type { LentHere } from "@openclaw-cluster/contract/node";
import type { Outcome } from "@openclaw-cluster/contract/wire";
import { asLent } from "../core/models/lent-here.ts";
import { isAutoName } from "../core/models/auto-groups.ts";
import { resolveModel } from "../core/models/model-names.ts";
import { modelNameOf, pathOf, requestOf } from "../core/models/task-model.ts";
import { jsonOf } from "../system/json-of.ts";
import { failedWith, refusedByPolicy, type Execution, type Executor } from "./executors.ts";
import { readChat, readError, readVectors, type Chat } from "./model-answer.ts";
import { ask, type PolicyParts } from "./permit.ts";
import type { SchemaCheck } from "./schema-check.ts";

export interface ModelQuestion {
  readonly path: "chat" | "embeddings";
  readonly body: Readonly<Record<string, unknown>>;
}

/** What the model's server has said, well or not. */
interface Answer {
  readonly kind: "answered";
  readonly status: number;
  /** undefined: it is none. */
  readonly json: unknown;
  /** Which model it was. */
  readonly model?: string | undefined;
}

/** unasked: it cannot be asked here at this moment, and nobody was. */
export type ModelReply = Answer | { readonly kind: "unasked"; readonly reason: string };

/** This node's models, and the way to ask them. */
export interface LentModels {
  /** Those that are lent now (Q1). */
  models(): readonly LentHere[];
  /** Rejects with ClusterError. Ends the request where the signal aborts. */
  ask(question: ModelQuestion, signal: AbortSignal): Promise<ModelReply>;
}

export interface ModelParts extends PolicyParts {
  readonly lent: LentModels;
  readonly schemas: Pick<SchemaCheck, "check">;
}

export function modelExecutor(parts: ModelParts): Executor<"model"> {
  return {
    kind: "model",
    resumable: false,
    async run({ input }, execution) {
      try {
        const reason = ask(parts, execution);
        if (reason !== undefined) return refusedByPolicy(reason);
        return await answerOf(parts, input, execution);
      } catch (error) {
        if (execution.signal.aborted) return { kind: "cancelled" };
        if (!(error instanceof ClusterError)) throw error;
        return error.code === "policy_denied" ? refusedByPolicy(error.detail) : failedWith(error);
      }
    },
  };
}

async function answerOf({ lent, schemas }: ModelParts, input: ModelInput, { node, signal }: Execution): Promise<Outcome> {
  const name = modelNameOf(input);
  const named = resolveModel(
    name,
    lent.models().map((model) => asLent(model, node)),
    {},
  );
  // Placed by what this node told a moment ago.
  if (named.kind === "refused") return unasked(`${node} does not lend ${name} any more.`);
  // With the node's name it is no alias, which may lead to a model that costs money (Q1).
  const id = named.groups[0]?.models[0]?.id;
  const model = isAutoName(name) ? name : `${id}@${node}`;
  const reply = await lent.ask({ path: pathOf(input), body: { ...requestOf(input), model } }, signal);
  if (reply.kind === "unasked") return unasked(reply.reason);
  if (reply.status >= 400) return refused(reply);
  const who = { model: reply.model ?? id ?? name, node };
  if (input.embed !== undefined) {
    const texts = typeof input.embed === "string" ? 1 : input.embed.length;
    const read = readVectors(reply.json, texts);
    return read === undefined ? garbage(`no list of ${texts} vectors`) : succeeded({ ...read, ...who });
  }
  const chat = readChat(reply.json);
  if (chat === undefined) return garbage("no chat completion");
  if (input.schema === undefined) return succeeded({ ...chat, ...who });
  return held(schemas, input.schema, chat, who);
}

/** Q2. */
async function held(schemas: ModelParts["schemas"], schema: object, chat: Chat, who: Record<string, Json>): Promise<Outcome> {
  if (chat.finish === "length") return invalid(chat, "cut", "The answer was cut where the model might write no more.");
  const value = jsonOf(chat.text);
  if (value === undefined) return invalid(chat, "not_json", "The answer is not JSON.");
  const verdict = await schemas.check({ schema, value });
  switch (verdict.kind) {
    case "holds":
      return succeeded({ ...chat, value: value as Json, ...who });
    case "breaks":
      return invalid(chat, "schema", `The answer does not hold to the schema at ${verdict.where}: ${verdict.detail}`);
    case "late":
      return invalid(chat, "late", "Whether the answer holds to the schema was not found out in time.");
    case "unusable":
      return { kind: "failed", error: { code: "model_refused", message: `No answer can be checked by the schema: ${verdict.detail}` } };
  }
}

/** What the model has said is for whoever wonders why. */
const ANSWER_CHARS_SHOWN = 2_000;

function invalid({ text }: Chat, reason: string, message: string): Outcome {
  return { kind: "failed", error: { code: "answer_invalid", message, data: { reason, answer: text.slice(0, ANSWER_CHARS_SHOWN) } } };
}

/** Q3. */
const unasked = (message: string): Outcome => ({ kind: "refused", error: { code: "model_unavailable", message } });
const succeeded = (result: Json): Outcome => ({ kind: "succeeded", result });
const garbage = (what: string): Outcome => ({
  kind: "failed",
  error: { code: "model_failed", message: `The model's server answered with ${what}.` },
});

/** By its server: of what it says of itself the router has asked again already. */
function refused({ status, json }: Answer): Outcome {
  const { message, code } = readError(json);
  const data = { status, ...(code !== undefined && { code }) };
  return { kind: "failed", error: { code: status >= 500 ? "model_failed" : "model_refused", message, data } };
}
