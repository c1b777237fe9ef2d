/**
 * One question to one model server (M2), and its answer on the way back.
 *
 * A1. Chat is always asked for as a stream: llama-server notices only then that nobody waits any more (measured: of 19 others that were
 *     given up, 18 went on to their end). Who asked for it whole gets it folded.
 * A2. It resolves with the first that a model said, not with the headers: until then another server can be asked instead.
 * A3. Whoever gives up closes the server's socket, before the answer and while it comes.
 * A4. An error of the server's is passed as JSON with its status; nothing of the caller's is tried twice here.
 */
import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import type { ModelServerKind } from "@openclaw-cluster/contract/models";
import { z } from "zod";
import type { Clock } from "../../system/clock.ts";
import { GrowingBytes } from "../../system/growing-bytes.ts";
import { ANSWER_BYTES_MAX, AnswerBody, STREAM_BYTES_MAX } from "./answer-body.ts";
import { Fold, FOLDED_BYTES_MAX } from "./fold.ts";
import { ModelFault, type ModelAnswer, type ModelQuestion } from "../models.ts";
import { everything, PassingEvents, PassingJson, type Passing } from "./passing.ts";
import { jsonOf } from "../../system/json-of.ts";
import type { ModelServer } from "./model-server.ts";
import { SseReader } from "../sse.ts";

/** A cold model of 70 GB comes off a disk in two or three minutes, and a long prompt is read before the first token. */
export const FIRST_BYTE_MS = 300_000;
/** Between two tokens; the slowest machine that anybody would wait for makes one in a few seconds. */
export const IDLE_MS = 120_000;
/** An error that is longer is no sentence: a page, or a prompt that is quoted. */
const ERROR_BYTES_MAX = 64 * 1024;
const ERROR_CHARS_SHOWN = 500;

const EVENTS = "text/event-stream";
const JSON_TYPE = "application/json";

export interface CallParts {
  readonly server: ModelServer;
  readonly kind: ModelServerKind;
  readonly clock: Clock;
  readonly firstByteMs?: number | undefined;
  readonly idleMs?: number | undefined;
}

/** Rejects with ModelFault. */
export async function askServer(parts: CallParts, question: ModelQuestion, signal: AbortSignal): Promise<ModelAnswer> {
  const { path, body: asked } = question;
  if (parts.kind === "mlx" && path !== "/chat/completions") throw unsupported(path);
  const isChat = path === "/chat/completions";
  const isStream = asked["stream"] === true;
  const call = await open(parts, question, signal);
  const { source } = call;
  const status = source.statusCode ?? 0;
  if (status >= 400) return await refusal(call, question);
  if (status !== 200) {
    source.destroy();
    throw new ModelFault("garbage", `a chat is not answered with status ${status}`);
  }
  if (isJson(source)) {
    if (isChat) return await wholeChat(call, isStream);
    return isStream ? notAStream(call) : await passed(call, new PassingJson(), JSON_TYPE, ANSWER_BYTES_MAX);
  }
  if (isChat && !isStream) return await folded(call);
  if (isStream) return await passed(call, new PassingEvents({ isChat, dropUsage: isChat && !wantsUsage(asked) }), EVENTS, STREAM_BYTES_MAX);
  return await passed(call, new PassingJson(), JSON_TYPE, ANSWER_BYTES_MAX);
}

interface Call {
  readonly source: IncomingMessage;
  /** With what is left of the time until the first byte. */
  readonly body: (passing: Passing, bytesMax: number) => AnswerBody;
}

async function open(
  { server, clock, firstByteMs = FIRST_BYTE_MS, idleMs = IDLE_MS }: CallParts,
  question: ModelQuestion,
  signal: AbortSignal,
): Promise<Call> {
  const { path, model, body: asked } = question;
  const options = Options.safeParse(asked["stream_options"]).data;
  // A1
  const streamed = path === "/chat/completions" ? { stream: true, stream_options: { ...options, include_usage: true } } : {};
  const silence = new AbortController();
  const began = clock.monotonic();
  const timer = clock.after(firstByteMs, () => silence.abort(new ModelFault("silent", `no answer within ${firstByteMs} ms`)));
  try {
    const body = JSON.stringify({ ...asked, ...streamed, model });
    const source = await server.open(`/v1${path}`, { body, signal: AbortSignal.any([signal, silence.signal]) });
    const leftMs = Math.max(firstByteMs - (clock.monotonic() - began), 1);
    return { source, body: (passing, bytesMax) => new AnswerBody({ source, passing, clock, firstByteMs: leftMs, idleMs, bytesMax }) };
  } catch (error) {
    if (silence.signal.aborted && !signal.aborted) throw silence.signal.reason;
    throw new ModelFault("unreachable", signal.aborted ? "the request was given up" : "the server cannot be reached", { cause: error });
  } finally {
    timer.cancel();
  }
}

const Options = z.looseObject({});
const wantsUsage = (asked: ModelQuestion["body"]): boolean => Options.safeParse(asked["stream_options"]).data?.["include_usage"] === true;
const isJson = ({ headers }: IncomingMessage): boolean => headers["content-type"]?.startsWith(JSON_TYPE) === true;
const unsupported = (path: string): ModelFault => new ModelFault("unsupported", `the server does not answer ${path}`);
const answerOf = (status: number, json: object): ModelAnswer => ({
  status,
  contentType: JSON_TYPE,
  body: Readable.from([Buffer.from(JSON.stringify(json))]),
});

/** A2 */
async function passed({ body }: Call, passing: Passing, contentType: string, bytesMax: number): Promise<ModelAnswer> {
  const answer = body(passing, bytesMax);
  await answer.begun();
  return { status: 200, contentType, body: answer };
}

async function folded({ body }: Call): Promise<ModelAnswer> {
  const reader = new SseReader();
  const fold = new Fold();
  for await (const piece of body(new PassingEvents({ isChat: true, dropUsage: false }), STREAM_BYTES_MAX) as AsyncIterable<Buffer>) {
    for (const { data } of reader.take(piece)) if (data !== undefined) fold.take(data);
  }
  const { status, json } = fold.result();
  return answerOf(status, json);
}

/** Of a server that does not stream. Some say in this way, with status 200, that they do not know the path. */
async function wholeChat(call: Call, isStream: boolean): Promise<ModelAnswer> {
  const json = jsonOf(await textOf(call, FOLDED_BYTES_MAX));
  if (!Chat.safeParse(json).success) throw new ModelFault("garbage", "the answer is no chat completion");
  if (isStream) return notAStream(call);
  return answerOf(200, json as object);
}

const Chat = z.looseObject({ choices: z.array(z.unknown()) });

function notAStream({ source }: Call): never {
  source.destroy();
  throw new ModelFault("unsupported", "the server does not stream");
}

/** A4 */
async function refusal(call: Call, { path }: ModelQuestion): Promise<ModelAnswer> {
  const status = call.source.statusCode ?? 500;
  // A path that a server does not have; what it says of that has as many forms as there are servers.
  if (status === 501 || status === 405 || (status === 404 && path !== "/chat/completions")) {
    call.source.destroy();
    throw unsupported(path);
  }
  const said = await textOf(call, ERROR_BYTES_MAX).catch((error: unknown) => {
    if (error instanceof ModelFault && error.kind === "too_large") return "an error that is too long to be passed on";
    throw error;
  });
  const json = jsonOf(said);
  if (typeof json === "object" && json !== null) return answerOf(status, json);
  return answerOf(status, { error: { message: said.slice(0, ERROR_CHARS_SHOWN), type: "server_error", code: status } });
}

async function textOf({ body }: Call, bytesMax: number): Promise<string> {
  const whole = new GrowingBytes();
  for await (const piece of body(everything(), bytesMax) as AsyncIterable<Buffer>) whole.add(piece);
  return whole.all.toString();
}
