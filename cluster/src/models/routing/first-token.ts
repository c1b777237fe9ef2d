/**
 * A streamed answer up to its first token, and from there to its end. Until the first token nothing has been said to whoever asked,
 * so another node may still be asked instead.
 *
 * T1. What says nothing yet (the role, an empty piece, that a response was begun) is held back.
 * T2. An answer that begins with an error, or ends before its first token without saying that it is over, is a fault.
 * T3. A stream ends with its own mark, or with an error event, and never in silence. A mark is an event, not words of the answer.
 * T4. Only whole events are passed on: the half of one that was cut is dropped, so that the error event behind it can be read.
 */
import { once } from "node:events";
import { Readable, Transform } from "node:stream";
import { ModelFault } from "../models.ts";
import { SseReader, type SseEvent } from "../sse.ts";

/** What servers say before the first token takes some hundred bytes. */
const HELD_BYTES_MAX = 256 * 1024;
const DONE = "[DONE]";
const BEGINNINGS: ReadonlySet<unknown> = new Set([
  "response.created",
  "response.in_progress",
  "response.queued",
  "response.output_item.added",
  "response.content_part.added",
]);
const FAILURES: ReadonlySet<unknown> = new Set(["error", "response.failed"]);
const ENDINGS: ReadonlySet<unknown> = new Set(["error", "response.completed", "response.failed", "response.incomplete"]);
/** An event that is not parsed is none of those; and in the words of an answer quotes are escaped. */
const MAY_BE_LAST = /"error"|"response\.(?:completed|failed|incomplete)"/;

type Json = Readonly<Record<string, unknown>>;

/** Resolves with the same stream, nothing of it lost, when its first token has come. Rejects with ModelFault (T2). */
export async function untilFirstToken(body: Readable): Promise<Readable> {
  const held: Buffer[] = [];
  const reader = new SseReader();
  let bytes = 0;
  // Also between two looks nobody but us would hear of it.
  body.on("error", () => undefined);
  try {
    for (;;) {
      const chunk = body.read() as Buffer | null;
      if (chunk === null) {
        if (body.errored !== null) throw faultOf(body.errored);
        if (body.readableEnded || body.destroyed) break;
        await moved(body);
        continue;
      }
      held.push(chunk);
      bytes += chunk.length;
      // Who goes on and on without a word is not tried elsewhere: it is at work.
      if (reader.take(chunk).some(isFirst) || bytes > HELD_BYTES_MAX) {
        body.unshift(Buffer.concat(held));
        return body;
      }
    }
    // Some servers forget the last blank line.
    if (reader.end().some(isFirst)) return Readable.from(held, { objectMode: false });
    throw new ModelFault("unreachable", "the answer ended before its first token");
  } catch (error) {
    body.destroy();
    throw error;
  }
}

/** Something to read, or nothing any more. */
async function moved(body: Readable): Promise<void> {
  const over = new AbortController();
  const waits = ["readable", "end", "close"].map((event) => once(body, event, { signal: over.signal }).catch(() => undefined));
  await Promise.race(waits);
  over.abort();
}

const faultOf = (error: Error): ModelFault =>
  error instanceof ModelFault ? error : new ModelFault("unreachable", error.message, { cause: error });

/** Throws ModelFault where it says that there will be no answer. */
function isFirst({ data, raw }: SseEvent): boolean {
  if (data === DONE) return true;
  if (data === undefined && isErrorField(raw)) throw new ModelFault("garbage", "the server answered with an error");
  if (data === undefined) return false;
  const event = parsed(data);
  if (event === undefined) throw new ModelFault("garbage", "the answer is no stream of events that can be read");
  if (isSomething(event["error"]) || FAILURES.has(event["type"])) throw new ModelFault("garbage", messageOf(event));
  return says(event);
}

/** llama-server once told errors in a field of this name. */
const isErrorField = (raw: Buffer): boolean => raw.subarray(0, 6).toString() === "error:";

function says(event: Json): boolean {
  if (typeof event["type"] === "string") return !BEGINNINGS.has(event["type"]);
  const choices = Array.isArray(event["choices"]) ? (event["choices"] as unknown[]) : [];
  return choices.some((choice) => {
    const { delta, finish_reason: finish } = (isObject(choice) ? choice : {}) as Json;
    if (typeof finish === "string") return true;
    return isObject(delta) && Object.entries(delta).some(([name, value]) => name !== "role" && isSomething(value));
  });
}

const isObject = (value: unknown): value is Json => typeof value === "object" && value !== null;
const isSomething = (value: unknown): boolean =>
  value !== null && value !== undefined && value !== "" && !(Array.isArray(value) && value.length === 0);

/** In OpenAI's chat it is under `error`; among the events of a response it is one itself, or is in the response. */
function messageOf({ error, response, message }: Json): string {
  const inner = error ?? (isObject(response) ? response["error"] : undefined);
  const said = isObject(inner) ? inner["message"] : (inner ?? message);
  return typeof said === "string" ? said.slice(0, 500) : "the server answered with an error";
}

function parsed(data: string): Json | undefined {
  try {
    const event = JSON.parse(data) as unknown;
    return isObject(event) ? event : undefined;
  } catch {
    return undefined;
  }
}

export interface Passing {
  /** A piece has passed, with so many events in it. */
  events(count: number): void;
  /** Called once. undefined: it ended as it should. left: whoever asked has gone away. */
  over(how: ModelFault | "left" | undefined): void;
}

/** What is said last of an answer that was cut, in OpenAI's shape. */
export const lostEvent = (message: string): string =>
  `data: ${JSON.stringify({ error: { message, type: "server_error", param: null, code: "node_lost" } })}\n\n`;

/** T3, T4. `errorEvent`: what is said last of an answer that was cut. */
export function passOn(body: Readable, errorEvent: (fault: ModelFault) => string, { events, over }: Passing): Readable {
  const reader = new SseReader();
  let hasEnd = false;
  let fault: ModelFault | undefined;
  let isOver = false;
  const end = (how: ModelFault | "left" | undefined): void => {
    if (isOver) return;
    isOver = true;
    over(how);
  };
  const whole = (read: () => SseEvent[]): Buffer => {
    const seen = read();
    hasEnd ||= seen.some(isLast);
    const said = seen.filter(({ data }) => data !== undefined);
    if (said.length > 0) events(said.length);
    return Buffer.concat(seen.map(({ raw }) => raw));
  };
  const cut = (error: Error): void => {
    fault ??= faultOf(error);
    body.unpipe(out).destroy();
    if (!out.destroyed) out.end();
  };
  const out = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      if (fault !== undefined) return done();
      try {
        done(
          null,
          whole(() => reader.take(chunk)),
        );
      } catch (error) {
        cut(error as Error);
        done();
      }
    },
    flush(done) {
      const rest: Buffer[] = [];
      try {
        if (fault === undefined) rest.push(whole(() => reader.end().filter(isLast)));
      } catch (error) {
        fault = faultOf(error as Error);
      }
      const how = hasEnd ? undefined : (fault ?? new ModelFault("unreachable", "the answer was cut"));
      end(how);
      if (how !== undefined) rest.push(Buffer.from(errorEvent(how)));
      done(null, Buffer.concat(rest));
    },
  });
  body.on("error", cut);
  // After its end this is nothing new; without one it was cut.
  body.on("close", () => void (out.writableEnded || cut(new ModelFault("unreachable", "the answer was cut"))));
  out.on("close", () => {
    end("left");
    body.destroy();
  });
  out.on("error", () => undefined);
  body.pipe(out);
  return out;
}

/** What comes behind it is no answer any more. */
function isLast({ data, raw }: SseEvent): boolean {
  if (data === undefined) return isErrorField(raw);
  if (data === DONE) return true;
  if (!MAY_BE_LAST.test(data)) return false;
  const { error, type } = parsed(data) ?? {};
  return isSomething(error) || ENDINGS.has(type);
}
