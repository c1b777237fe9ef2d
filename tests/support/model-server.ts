/**
 * A scripted language model behind the OpenAI-compatible HTTP API, for Gateways in tests and in the demonstration: what
 * it answers follows from the words of the turn, so that a test knows the answer and can see each request end.
 *
 * M1. A request is answered by one rule of model-script.ts; the same messages always give the same answer.
 * M2. Every request is kept, with the moment its connection closed and whether the client closed it before the end.
 * M3. It answers only to an API key. The key is the name of the Gateway that uses it, and stands in the record.
 */
import { appendFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { type ChatMessage, type Reply, humanText, plain, replyTo } from "./model-script.ts";

export interface ModelRequest {
  readonly at: number;
  /** The Gateway that asked: its API key here. */
  readonly gateway: string;
  /** What the person wrote, without what OpenClaw wraps around it. */
  readonly text: string;
  readonly model: string;
  /** Does any message of the conversation, as it was sent here, hold these words? */
  readonly shows: (words: string) => boolean;
  closedAt?: number;
  /** The client closed the connection before the answer was complete. */
  aborted: boolean;
}

export interface ModelServer {
  /** The base URL for `models.providers.*.baseUrl`. */
  readonly url: string;
  readonly requests: readonly ModelRequest[];
  close(): Promise<void>;
}

/** OpenClaw sends up to about 150 KB of prompt and tools; more than this is not a turn. */
const BODY_BYTES_MAX = 16 * 1024 * 1024;
/** Pause between the words of a slow answer. */
const WORD_MS = 100;

interface ChatBody {
  readonly model: string;
  readonly stream?: boolean;
  readonly messages: readonly ChatMessage[];
}

/** With `logFile`, each finished request is also one JSON line there. */
export async function startModelServer(options: { port?: number; logFile?: string } = {}): Promise<ModelServer> {
  const requests: ModelRequest[] = [];
  const writes = new Set<Promise<void>>();
  const finish = (request: ModelRequest, complete: boolean): void => {
    request.closedAt = Date.now();
    request.aborted = !complete;
    if (options.logFile === undefined) return;
    const write = appendFile(options.logFile, `${JSON.stringify(request)}\n`).finally(() => writes.delete(write));
    writes.add(write);
  };
  const server = createServer((request, response) => {
    answer(request, response, requests, finish).catch((error: unknown) => {
      if (!response.headersSent) sendJson(response, 500, { error: { message: String(error), type: "server_error" } });
      else response.destroy();
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port ?? 0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/v1`,
    requests,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
      await Promise.all(writes);
    },
  };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  requests: ModelRequest[],
  finish: (request: ModelRequest, complete: boolean) => void,
): Promise<void> {
  const key = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1];
  if (key === undefined) return sendJson(response, 401, { error: { message: "an API key is needed", type: "invalid_request_error" } });
  if (request.method !== "POST" || request.url !== "/v1/chat/completions") {
    return sendJson(response, 404, { error: { message: "only POST /v1/chat/completions", type: "invalid_request_error" } });
  }
  const body = JSON.parse(await readBody(request)) as ChatBody;
  const { messages, model } = body;
  const shows = (words: string): boolean => messages.some((message) => plain(message).includes(words));
  const record: ModelRequest = { at: Date.now(), gateway: key, text: humanText(messages), model, shows, aborted: false };
  requests.push(record);
  response.once("close", () => finish(record, response.writableFinished));
  const reply = replyTo(body.messages);
  if (reply.kind === "error") {
    if (reply.retryAfter !== undefined) response.setHeader("retry-after", reply.retryAfter);
    return sendJson(response, reply.status, { error: { message: `scripted failure ${reply.status}`, type: errorType(reply.status) } });
  }
  if (body.stream === true) await stream(response, body.model, reply);
  else sendJson(response, 200, whole(body.model, reply));
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) throw new Error(`body larger than ${BODY_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** Server-sent events in the shape of OpenAI's chat completions, with the usage last. Ends early when the client goes away. */
async function stream(response: ServerResponse, model: string, reply: Exclude<Reply, { kind: "error" }>): Promise<void> {
  const base = { id: "chatcmpl-scripted", object: "chat.completion.chunk", created: Math.floor(Date.now() / 1000), model };
  const send = (data: object): void => void response.write(`data: ${JSON.stringify({ ...base, ...data })}\n\n`);
  const delta = (part: object, reason: string | null = null): void => send({ choices: [{ index: 0, delta: part, finish_reason: reason }] });

  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  delta({ role: "assistant", content: "" });
  let words = 0;
  if (reply.kind === "tool") {
    delta({ tool_calls: [{ index: 0, id: reply.callId, type: "function", function: { name: reply.tool, arguments: reply.args } }] });
  } else {
    for (const word of reply.words) {
      if (reply.slow) await pause(WORD_MS);
      if (response.destroyed) return;
      delta({ content: words === 0 ? word : ` ${word}` });
      words += 1;
    }
  }
  delta({}, reply.kind === "tool" ? "tool_calls" : "stop");
  send({ choices: [], usage: usage(words) });
  response.end("data: [DONE]\n\n");
}

function whole(model: string, reply: Exclude<Reply, { kind: "error" }>): object {
  const message =
    reply.kind === "tool"
      ? {
          role: "assistant",
          content: null,
          tool_calls: [{ id: reply.callId, type: "function", function: { name: reply.tool, arguments: reply.args } }],
        }
      : { role: "assistant", content: reply.words.join(" ") };
  const finish = reply.kind === "tool" ? "tool_calls" : "stop";
  const words = reply.kind === "tool" ? 0 : reply.words.length;
  return {
    id: "chatcmpl-scripted",
    object: "chat.completion",
    model,
    choices: [{ index: 0, message, finish_reason: finish }],
    usage: usage(words),
  };
}

function usage(completion: number): object {
  return { prompt_tokens: 100, completion_tokens: completion, total_tokens: 100 + completion };
}

/** As OpenAI names it. */
function errorType(status: number): string {
  if (status === 429) return "rate_limit_error";
  return status < 500 ? "invalid_request_error" : "server_error";
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}
