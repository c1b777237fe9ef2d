/**
 * A task of kind `model` as a request in OpenAI's words, and what a node must lend for it.
 *
 * K1. What is wanted is told in classes, so that the thousands of inputs of one batch are one shape or a few: two tasks of one class are
 *     refused by the same nodes. A class errs to the long side, as the estimate does (E1 in model-needs.ts).
 */
import type { ModelInput } from "@openclaw-cluster/contract/model-input";
import { needsOf, type FitNeeds } from "./model-needs.ts";
import { promptParts } from "./prompt-parts.ts";

export interface ModelWish {
  /** As the task has it, or what stands for any that will do. */
  readonly name: string;
  /** The context in its class. */
  readonly needs: FitNeeds;
}

/** Four to each doubling: contexts are powers of two, or a quarter, a half or three quarters above one, and are so compared as they are. */
const CLASSES_PER_DOUBLING = 4;
/** No model's context is shorter; below it nothing is told apart. */
const CLASS_TOKENS_MIN = 2_048;
/** Some servers want a name for it. */
const SCHEMA_NAME = "answer";

export const pathOf = ({ embed }: ModelInput): "chat" | "embeddings" => (embed === undefined ? "chat" : "embeddings");

export const modelNameOf = ({ model, embed }: ModelInput): string => model ?? (embed === undefined ? "auto" : "auto:embed");

/** Without `stream`: the answer is wanted whole. */
export function requestOf(input: ModelInput): Readonly<Record<string, unknown>> {
  const { prompt, system, messages, embed, schema, maxTokens, temperature, seed, stop } = input;
  const model = modelNameOf(input);
  if (embed !== undefined) return { model, input: embed };
  const spoken = [...(system === undefined ? [] : [{ role: "system", content: system }]), { role: "user", content: prompt }];
  return {
    model,
    messages: messages ?? spoken,
    ...(schema !== undefined && { response_format: { type: "json_schema", json_schema: { name: SCHEMA_NAME, schema, strict: true } } }),
    ...(maxTokens !== undefined && { max_tokens: maxTokens }),
    ...(temperature !== undefined && { temperature }),
    ...(seed !== undefined && { seed }),
    ...(stop !== undefined && { stop }),
  };
}

/** A queued task is looked at many times, and a prompt takes a millisecond to count. */
const known = new WeakMap<ModelInput, ModelWish>();

export function wishOf(input: ModelInput): ModelWish {
  const found = known.get(input) ?? readWish(input);
  known.set(input, found);
  return found;
}

function readWish(input: ModelInput): ModelWish {
  const request = requestOf(input);
  const path = pathOf(input);
  const { json, contextTokens, tools, vision } = needsOf(path, request, promptParts(path, request));
  return { name: modelNameOf(input), needs: { path, json, contextTokens: classOf(contextTokens), tools, vision } };
}

function classOf(tokens: number): number {
  if (tokens <= CLASS_TOKENS_MIN) return CLASS_TOKENS_MIN;
  const step = 2 ** Math.floor(Math.log2(tokens)) / CLASSES_PER_DOUBLING;
  return Math.ceil(tokens / step) * step;
}
