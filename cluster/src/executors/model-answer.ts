/** Reads what model servers answer, in OpenAI's shapes; what is not understood is as if it had not been said. */
import type { Json } from "@openclaw-cluster/contract/json";
import { z } from "zod";

const tokens = z.int().min(0).optional().catch(undefined);
const Usage = z.object({ prompt_tokens: tokens, completion_tokens: tokens }).optional().catch(undefined);
const Completion = z.object({
  choices: z.tuple(
    [z.object({ message: z.object({ content: z.string().nullish() }), finish_reason: z.string().nullish().catch(undefined) })],
    z.unknown(),
  ),
  usage: Usage,
});
const Vectors = z.object({
  data: z.array(z.object({ index: z.int().min(0).optional(), embedding: z.array(z.number()) })),
  usage: Usage,
});
const Told = z.object({
  error: z.object({ message: z.string(), code: z.union([z.string(), z.number()]).nullish().catch(undefined) }).or(z.string()),
});

/** As a task's result has it. */
export interface Chat {
  readonly text: string;
  /** Why it ended, in its server's word: `stop`, `length`. */
  readonly finish?: string;
  readonly usage?: Record<string, Json>;
}

export function readChat(json: unknown): (Chat & Record<string, Json>) | undefined {
  const read = Completion.safeParse(json);
  if (!read.success) return undefined;
  const [{ message, finish_reason: finish }] = read.data.choices;
  return { text: message.content ?? "", ...(finish && { finish }), ...usageOf(read.data.usage) };
}

/** One for each text, in their order. */
export function readVectors(json: unknown, texts: number): Record<string, Json> | undefined {
  const read = Vectors.safeParse(json);
  if (!read.success || read.data.data.length !== texts) return undefined;
  const inOrder = read.data.data.map((one, at) => ({ at: one.index ?? at, embedding: one.embedding })).sort((a, b) => a.at - b.at);
  return { embeddings: inOrder.map(({ embedding }) => embedding), ...usageOf(read.data.usage) };
}

export function readError(json: unknown): { readonly message: string; readonly code?: string | number } {
  const read = Told.safeParse(json);
  if (!read.success) return { message: "The model's server did not take the request, and did not say why." };
  const { error } = read.data;
  if (typeof error === "string") return { message: error };
  return { message: error.message, ...(error.code !== null && error.code !== undefined && { code: error.code }) };
}

function usageOf(usage: z.output<typeof Usage>): { usage?: Record<string, Json> } {
  const { prompt_tokens: prompt, completion_tokens: completion } = usage ?? {};
  if (prompt === undefined && completion === undefined) return {};
  return {
    usage: { ...(prompt !== undefined && { promptTokens: prompt }), ...(completion !== undefined && { completionTokens: completion }) },
  };
}
