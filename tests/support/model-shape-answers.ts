/** What scripted model servers answer (model-shapes.ts, H4), and how they break off. */
import type { ServerResponse } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { refusal, send, type Json, type ShapeRequest, type ShapeSettings, type Stage } from "./model-shape-stage.ts";

type Question = (stage: Stage, body: Json, response: ServerResponse, record: ShapeRequest) => Promise<void>;
export const QUESTIONS: Readonly<Record<string, Question>> = {
  "/v1/chat/completions": chat,
  "/v1/responses": respond,
  "/v1/embeddings": embed,
};
/** Words after which the modes that break off do. */
const WORDS_BEFORE_BREAK = 2;
const PROMPT_TOKENS = 100;

const usageOf = (tokens: number): Json => ({
  prompt_tokens: PROMPT_TOKENS,
  completion_tokens: tokens,
  total_tokens: PROMPT_TOKENS + tokens,
});

function toolCallFor({ tools, messages, tool_choice: choice }: Json): Json | undefined {
  const [tool] = (tools ?? []) as { function?: { name?: string } }[];
  const isAnswered = ((messages ?? []) as Json[]).some(({ role }) => role === "tool");
  if (tool === undefined || isAnswered || choice === "none") return undefined;
  return { id: "call_1", type: "function", function: { name: tool.function?.name ?? "", arguments: '{"city":"Berlin"}' } };
}

async function chat({ settings }: Stage, body: Json, response: ServerResponse, record: ShapeRequest): Promise<void> {
  const call = toolCallFor(body);
  const base = { id: "chatcmpl-shape", created: 1_700_000_000, model: body["model"] };
  if (body["stream"] !== true) {
    const message =
      call === undefined
        ? { role: "assistant", content: settings.words.join("") }
        : { role: "assistant", content: null, tool_calls: [call] };
    await pause(settings.firstTokenMs + (settings.words.length * 1_000) / settings.tokensPerSecond);
    const choices = [{ index: 0, message, finish_reason: call === undefined ? "stop" : "tool_calls" }];
    return send(response, { json: { ...base, object: "chat.completion", choices, usage: usageOf(settings.words.length) } });
  }
  const say = sayer(response, record);
  const delta = (part: Json, finish: string | null = null): Promise<void> =>
    say({ ...base, object: "chat.completion.chunk", choices: [{ index: 0, delta: part, finish_reason: finish }] });
  if (settings.firstTokenMs > 0) await pause(settings.firstTokenMs);
  response.writeHead(200, { "content-type": "text/event-stream" });
  await delta({ role: "assistant", content: null });
  let said = 0;
  if (call !== undefined) await delta({ tool_calls: [{ index: 0, ...call }] });
  else said = await sayWords(settings, response, (content) => delta({ content }));
  if (response.destroyed || said < 0) return;
  await delta({}, call === undefined ? "stop" : "tool_calls");
  const options = body["stream_options"] as Json | undefined;
  if (options?.["include_usage"] === true) await say({ ...base, object: "chat.completion.chunk", choices: [], usage: usageOf(said) });
  response.end("data: [DONE]\n\n");
}

/** How many; -1: it broke off. */
async function sayWords(settings: ShapeSettings, response: ServerResponse, say: (word: string) => Promise<void>): Promise<number> {
  const { mode, words } = settings;
  for (let said = 0; mode === "endless" || said < words.length; said += 1) {
    if (said > 0) {
      const ms = 1_000 / settings.tokensPerSecond;
      if (ms >= 1) await pause(ms);
      else if (said % 64 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    if (response.destroyed) return -1;
    if (said === WORDS_BEFORE_BREAK && mode === "stallMidStream") return -1;
    if (said === WORDS_BEFORE_BREAK && mode === "dieMidStream") {
      response.destroy();
      return -1;
    }
    await say((words[said % words.length] ?? "").padEnd(settings.wordBytes, "."));
  }
  return words.length;
}

/** Waits while the reader does: a server that is not read makes no more tokens. */
function sayer(response: ServerResponse, record: ShapeRequest): (json: Json) => Promise<void> {
  return async (json) => {
    if (response.destroyed) return;
    const line = `data: ${JSON.stringify(json)}\n\n`;
    record.bytes += line.length;
    if (response.write(line)) return;
    await new Promise<void>((resolve) => {
      const go = (): void => {
        response.off("drain", go).off("close", go);
        resolve();
      };
      response.once("drain", go).once("close", go);
    });
  };
}

async function respond({ shape, settings }: Stage, body: Json, response: ServerResponse, record: ShapeRequest): Promise<void> {
  if (shape === "mlx") return send(response, { status: 404, text: "Not Found" });
  const text = settings.words.join("");
  const whole = {
    id: "resp_shape",
    object: "response",
    status: "completed",
    model: body["model"],
    output: [{ type: "message", role: "assistant", content: [{ type: "output_text", text }] }],
  };
  if (body["stream"] !== true) return send(response, { json: whole });
  const say = sayer(response, record);
  response.writeHead(200, { "content-type": "text/event-stream" });
  if ((await sayWords(settings, response, (delta) => say({ type: "response.output_text.delta", delta }))) < 0) return;
  await say({ type: "response.completed", response: whole });
  response.end();
}

async function embed({ shape, models }: Stage, { model, input }: Json, response: ServerResponse): Promise<void> {
  const isAble = models.some((one) => one.embeddings && (one.id === model || shape === "llamacpp"));
  if (!isAble) return send(response, refusal(501, "this server does not support embeddings"));
  const data = (Array.isArray(input) ? input : [input]).map((_, index) => ({ object: "embedding", index, embedding: [0.1, 0.2, 0.3] }));
  send(response, { json: { object: "list", data, model, usage: { prompt_tokens: data.length, total_tokens: data.length } } });
}
