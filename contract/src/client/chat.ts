/**
 * One chat with a model of the cluster, as OpenAI's API streams it, piece by piece as they come.
 *
 * C1. Asked once: a model's answer costs time or money, and another one would be another answer. Whoever wants it again asks again.
 * C2. It ends with the answer's own end, or throws a ClusterError; an answer that was cut never looks like one that is over.
 */
import { z } from "zod";
import { ClusterError } from "../errors.ts";
import { authorization, type Line } from "./call.ts";
import { asClusterError, errorFrom, parseOrUndefined } from "./retry.ts";
import { EVENT_CHARS_MAX } from "./sse.ts";
import { ConnectionBroken } from "./transport.ts";

/** A node waits 300 s for its server's first word: a cold model comes off a disk. It tells of that itself, a little later. */
const SILENT_MS = 330_000;
const DONE = "[DONE]";
/** That an answer would have had which turns into an error after its first word. */
const LOST_STATUS = 502;

export interface ChatRequest {
  /** As requests for models name them: an id, `id@node`, `auto`, an alias. */
  readonly model: string;
  readonly messages: readonly { readonly role: "system" | "user" | "assistant"; readonly content: string }[];
  readonly max_tokens?: number;
  readonly temperature?: number;
}

const Usage = z.object({ prompt_tokens: z.number(), completion_tokens: z.number() });

/** What is read of a piece; servers say much more. */
const ChatPiece = z.object({
  choices: z
    .array(z.object({ delta: z.record(z.string(), z.unknown()).nullish(), finish_reason: z.string().nullish() }))
    .nullish()
    .catch(undefined),
  /** With the last piece, where its server counts. */
  usage: Usage.nullish().catch(undefined),
});
export type ChatPiece = z.infer<typeof ChatPiece>;

export async function* chat(line: Line, request: ChatRequest, asked?: AbortSignal): AsyncGenerator<ChatPiece> {
  const signal = asked === undefined ? line.closed : AbortSignal.any([line.closed, asked]);
  try {
    const { status, retryAfter, pieces } = await line.channel.stream({
      method: "POST",
      path: "/v1/chat/completions",
      headers: { ...authorization(line), "content-type": "application/json", accept: "text/event-stream" },
      body: JSON.stringify({ ...request, stream: true, stream_options: { include_usage: true } }),
      idleMs: SILENT_MS,
      signal,
    });
    line.heard = true;
    if (status !== 200) throw errorFrom(status, await textOf(pieces), retryAfter);
    for await (const data of dataOf(pieces)) {
      if (data === DONE) return;
      yield pieceOf(data);
    }
    throw new ConnectionBroken("the answer ended early", true, undefined);
  } catch (thrown) {
    asked?.throwIfAborted();
    throw asClusterError(thrown);
  }
}

async function textOf(pieces: AsyncIterable<string>): Promise<string> {
  let text = "";
  for await (const piece of pieces) {
    text += piece;
    if (text.length > EVENT_CHARS_MAX) break;
  }
  return text;
}

/** Each server has its own line ends, and its own mind about a blank after the colon; one event is always one line. */
async function* dataOf(pieces: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = "";
  for await (const piece of pieces) {
    const lines = (rest + piece).split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > EVENT_CHARS_MAX) throw new ConnectionBroken("an event without an end", true, undefined);
    for (const text of lines) if (text.startsWith("data:")) yield text.slice("data:".length).trim();
  }
  if (rest.startsWith("data:")) yield rest.slice("data:".length).trim();
}

function pieceOf(data: string): ChatPiece {
  const json = parseOrUndefined(data);
  const piece = ChatPiece.safeParse(json);
  if (isObject(json) && json["error"]) throw errorFrom(LOST_STATUS, data, undefined);
  if (!piece.success) throw new ClusterError("internal", "The model's server sent an event that is no piece of a chat.");
  return piece.data;
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> => typeof value === "object" && value !== null;
