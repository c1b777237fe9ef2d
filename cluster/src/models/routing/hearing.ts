/**
 * A server's answer, heard for whoever asked: up to its first token where it streams, else whole. Until then it can still be another
 * server's.
 *
 * E1. What a server says of the request itself (a 4xx) is the answer. What it says of itself, and all else, is thrown.
 * E2. That the prompt is longer than its context is thrown too: another server may have a larger one.
 */
import { Readable } from "node:stream";
import { REFUSED_AS } from "../../core/models/model-refusal.ts";
import { jsonOf } from "../../system/json-of.ts";
import { passOn, untilFirstToken } from "./first-token.ts";
import { readWhole } from "../lines/line-body.ts";
import { ModelFault, RouteRefusal, type ModelAnswer, type Over } from "../models.ts";

/** An answer that comes as one piece; embeddings of some hundred texts. */
const WHOLE_BYTES_MAX = 32 * 1024 * 1024;
/** Of a server's error; a sentence of it is shown. */
const ERROR_BYTES_MAX = 64 * 1024;
const ERROR_CHARS_SHOWN = 300;
/** E1: no key, another one, not found (any more), too slow, too busy. */
const OF_ITSELF: ReadonlySet<number> = new Set([401, 403, 404, 408, 429]);
/** A server that is too busy does not say for how long in a way that all share. */
const BUSY_AGAIN_MS = 1_000;
export const CONTEXT_CODE = REFUSED_AS.context_too_small.code;
/** E2: llama-server's word, and OpenAI's. */
const CONTEXT_EXCEEDED: ReadonlySet<unknown> = new Set(["exceed_context_size_error", CONTEXT_CODE]);
/** Usage stands at the end of an answer, but for what a server adds of its own: times, a fingerprint. */
const USAGE_CHARS = 4_096;
const WRITTEN = /"(?:completion|output)_tokens"\s*:\s*(\d{1,9})/;

export interface Hearing {
  readonly streams: boolean;
  /** What is said last of an answer that was cut. */
  errorEvent(fault: ModelFault): string;
  /** Called once, at the latest when the answer's body is closed. */
  over(over: Over): void;
}

/** Throws ModelFault and RouteRefusal, of which `over` is not told. */
export async function hear(answer: ModelAnswer, { streams, errorEvent, over }: Hearing): Promise<ModelAnswer> {
  const { status } = answer;
  if (status < 200 || (status >= 300 && status < 400) || status >= 500 || OF_ITSELF.has(status)) throw await troubleOf(answer);
  if (status < 300 && streams) {
    let tokens = 0;
    const body = passOn(await untilFirstToken(answer.body), errorEvent, {
      events: (count) => (tokens += count),
      over: (how) => over(how instanceof ModelFault ? { how: "cut", fault: how } : { how: how ?? "answered", tokens }),
    });
    return { ...answer, body };
  }
  const whole = await readWhole(answer.body, WHOLE_BYTES_MAX);
  if (status >= 400) throwIfTooLong(whole);
  over(status >= 400 ? { how: "wrong", tokens: 0 } : { how: "answered", tokens: writtenIn(whole) });
  return { ...answer, body: Readable.from([whole], { objectMode: false }) };
}

/** E1. */
async function troubleOf({ status, body }: ModelAnswer): Promise<Error> {
  const said = (await readWhole(body, ERROR_BYTES_MAX)).toString().slice(0, ERROR_CHARS_SHOWN);
  const message = `its server answered ${status}: ${said}`;
  switch (status) {
    case 404:
      return new ModelFault("unknown_model", message);
    case 408:
      return new ModelFault("silent", message);
    case 429:
      return new RouteRefusal(429, "overloaded", message, { retryAfterMs: BUSY_AGAIN_MS });
    default:
      return new ModelFault("garbage", message);
  }
}

/** E2. Agents shorten their prompt when they are told by OpenAI's code. */
function throwIfTooLong(said: Buffer): void {
  const { error } = (jsonOf(said) ?? {}) as { error?: { type?: unknown; code?: unknown; message?: unknown } };
  if (typeof error !== "object" || error === null || !(CONTEXT_EXCEEDED.has(error.type) || CONTEXT_EXCEEDED.has(error.code))) return;
  const message = typeof error.message === "string" ? error.message : "The prompt is longer than the model's context.";
  throw new RouteRefusal(400, CONTEXT_CODE, message.slice(0, ERROR_CHARS_SHOWN));
}

/** 0: it does not tell, or wrote none. */
function writtenIn(whole: Buffer): number {
  return Number(WRITTEN.exec(whole.subarray(-USAGE_CHARS).toString("latin1"))?.[1] ?? 0);
}
