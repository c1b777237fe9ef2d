/**
 * What a request needs of a model, read from its body, and whether a model has it.
 *
 * E1. Token counts are estimates (token-estimate.ts); they rather exclude a model that would just have done than pick one
 *     that cuts the prompt. The context that is compared is the one that the server really uses, not the advertised one.
 * E2. What is not known of a model does not exclude it: its server will say.
 * E3. The wished output is a limit, not a need: agents ask for 8,192 tokens and take a few hundred. Of it only
 *     OUTPUT_ROOM_TOKENS must fit behind the prompt.
 */
import type { LentModel } from "@openclaw-cluster/contract/models";
import { fieldsOf, listOf, type Fields, type PromptKind, type PromptPart } from "./prompt-parts.ts";
import { textTokens } from "./token-estimate.ts";

export interface ModelNeeds {
  readonly path: PromptKind;
  /** To be read before the first answer. */
  readonly promptTokens: number;
  /** The most that is to be written. */
  readonly outputTokens: number;
  /** Must fit into the model's context at once. */
  readonly contextTokens: number;
  readonly tools: boolean;
  readonly vision: boolean;
  readonly json: boolean;
}

/** What decides whether a model has it, without what says how long it takes. */
export type FitNeeds = Omit<ModelNeeds, "promptTokens" | "outputTokens">;

export type Misfit =
  | { readonly code: "context_too_small"; readonly detail: string; readonly contextTokens: number }
  | { readonly code: "no_chat" | "no_embeddings" | "no_tools" | "no_vision" | "no_json"; readonly detail: string };

/** Role, and the marks where a message begins and ends: 4 in ChatML, 5 in Llama 3. */
const MESSAGE_TOKENS = 5;
/** The frame that a template prints around a tool, and the punctuation of its schema. */
const TOOL_TOKENS = 24;
/** Between LLaVA's 576 and Qwen2-VL's 1,280 for one picture; large ones in tiles take more. */
const IMAGE_TOKENS = 1_000;
/** The tail of the template: where the answer begins. */
const FRAME_TOKENS = 8;
/** Where the request has no limit; servers then write until the model ends. */
export const OUTPUT_TOKENS_DEFAULT = 1_024;
/** E3: room for a usual answer, or for a call of a tool with a file in it. */
const OUTPUT_ROOM_TOKENS = 1_024;
/** A limit beyond every model's context is none. */
const OUTPUT_TOKENS_MAX = 1_000_000;

export function needsOf(path: PromptKind, body: unknown, parts: readonly PromptPart[]): ModelNeeds {
  const fields = fieldsOf(body);
  const { all, largest, vision, toolTalk } = count(parts);
  if (path === "embeddings")
    return { path, promptTokens: all, outputTokens: 0, contextTokens: largest, tools: false, vision: false, json: false };
  const promptTokens = all + FRAME_TOKENS;
  const outputTokens = outputOf(fields);
  return {
    path,
    promptTokens,
    outputTokens,
    contextTokens: promptTokens + Math.min(outputTokens, OUTPUT_ROOM_TOKENS),
    tools: toolTalk || (fields["tool_choice"] !== "none" && hasTools(fields)),
    vision,
    json: wantsJson(fields),
  };
}

/** undefined: it does. The detail completes "<model> …". */
export function misfit({ can, contextTokens }: LentModel, needs: FitNeeds): Misfit | undefined {
  if (needs.path === "embeddings") {
    if (!can.embeddings) return { code: "no_embeddings", detail: "makes no embeddings" };
  } else if (!can.chat) return { code: "no_chat", detail: "does not chat" };
  if (needs.tools && !can.tools) return { code: "no_tools", detail: "cannot use tools" };
  if (needs.vision && !can.vision) return { code: "no_vision", detail: "cannot see images" };
  if (needs.json && !can.json) return { code: "no_json", detail: "cannot hold its answer to a JSON schema" };
  if (contextTokens === undefined || contextTokens >= needs.contextTokens) return undefined; // E2
  return {
    code: "context_too_small",
    detail: `has a context of ${contextTokens} tokens, and the request takes about ${needs.contextTokens}`,
    contextTokens,
  };
}

/** What remains of a template in a history with calls: without tools in the template it would not be understood. */
const TOOL_ROLES: ReadonlySet<string> = new Set(["tool", "function", "function_call", "function_call_output"]);

function count(parts: readonly PromptPart[]): { all: number; largest: number; vision: boolean; toolTalk: boolean } {
  let all = 0;
  let largest = 0;
  let input = 0;
  let vision = false;
  let toolTalk = false;
  for (const part of parts) {
    let tokens = 0;
    switch (part.kind) {
      case "text":
        tokens = textTokens(part.text);
        break;
      case "image":
        tokens = IMAGE_TOKENS;
        vision = true;
        break;
      case "message":
        tokens = MESSAGE_TOKENS;
        if (TOOL_ROLES.has(part.role)) toolTalk = true;
        break;
      case "tool":
        tokens = TOOL_TOKENS;
        break;
      case "input":
        tokens = part.tokens + FRAME_TOKENS;
        input = 0;
        break;
    }
    all += tokens;
    input += tokens;
    largest = Math.max(largest, input);
  }
  return { all: Math.ceil(all), largest: Math.ceil(largest), vision, toolTalk };
}

const hasTools = (fields: Fields): boolean => listOf(fields["tools"]).length > 0 || listOf(fields["functions"]).length > 0;

/** `json_object` too: the same grammar of a server holds the answer to it. */
function wantsJson(fields: Fields): boolean {
  const type = fieldsOf(fields["response_format"] ?? fieldsOf(fields["text"])["format"])["type"];
  return type === "json_schema" || type === "json_object";
}

function outputOf(fields: Fields): number {
  for (const name of ["max_completion_tokens", "max_tokens", "max_output_tokens"]) {
    const value = fields[name];
    if (typeof value === "number" && value >= 1) return Math.min(Math.floor(value), OUTPUT_TOKENS_MAX);
  }
  return OUTPUT_TOKENS_DEFAULT;
}
