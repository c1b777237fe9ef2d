/**
 * One tool, called directly: POST /tools/invoke on the Gateway's port. Over HTTP because there the call ends with its
 * connection, and because node:http, unlike fetch, puts no limit of its own on a tool that works for long.
 */
import { request, type IncomingMessage } from "node:http";
import { request as secureRequest } from "node:https";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { Json } from "@openclaw-cluster/contract/json";
import { LIMITS } from "@openclaw-cluster/contract/limits";
import { z } from "zod";

interface ToolCall {
  readonly tool: string;
  readonly args: Json;
  readonly agent?: string;
  readonly sessionKey?: string;
  readonly idempotencyKey: string;
}

const Answer = z.looseObject({
  ok: z.boolean().optional(),
  result: Json.optional(),
  error: z.looseObject({ type: z.string().catch(""), message: z.string() }).optional(),
});

/** `url` is the Gateway's, as ws:// or wss://. Rejects with the signal's reason when it aborts. */
export async function invokeTool(gateway: { url: string; token: string }, call: ToolCall, signal: AbortSignal): Promise<Json> {
  signal.throwIfAborted();
  const { tool, args, agent, sessionKey, idempotencyKey } = call;
  const body = JSON.stringify({ tool, args, ...(agent && { agentId: agent }), ...(sessionKey && { sessionKey }), idempotencyKey });
  const url = new URL("/tools/invoke", gateway.url.replace(/^ws/, "http"));
  let reply: Reply;
  try {
    reply = await post(url, gateway.token, body, signal);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof ClusterError) throw error;
    throw new ClusterError("gateway_unreachable", `The OpenClaw Gateway at ${gateway.url} did not answer.`, { cause: error });
  }
  return read(tool, reply);
}

interface Reply {
  readonly status: number;
  readonly text: string;
  /** In seconds, as a header has it; its other form, a date, is not used by OpenClaw. */
  readonly retryAfter: string | undefined;
}

function read(tool: string, { status, text, retryAfter }: Reply): Json {
  if (status === 429) throw throttled(tool, Number(retryAfter));
  const answer = Answer.safeParse(parse(text));
  if (!answer.success)
    throw new ClusterError("gateway_refused", `The Gateway answered ${tool} with HTTP ${status} in another form than expected.`);
  const { ok, result, error } = answer.data;
  if (ok && result !== undefined) return result;
  const said = error?.message ?? `HTTP ${status}`;
  if (status === 404) throw new ClusterError("gateway_refused", `The Gateway has no tool ${tool} for direct calls: ${said}`);
  if (error?.type === "tool_error" || (status >= 500 && ok === false)) throw new ClusterError("tool_failed", `${tool}: ${said}`);
  throw new ClusterError(status >= 500 ? "gateway_unreachable" : "gateway_refused", `The Gateway refused ${tool}: ${said}`);
}

/** The Gateway's own limit. When the service behind a tool throttles it, that is a sentence in the tool's error, and `tool_failed`. */
function throttled(tool: string, seconds: number): ClusterError {
  const known = Number.isFinite(seconds) && seconds >= 0 ? { retryAfterMs: Math.ceil(seconds * 1_000) } : {};
  return new ClusterError("throttled", `The Gateway takes no more calls of ${tool} for now.`, known);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON; the schema says so.
    return undefined;
  }
}

function post(url: URL, token: string, body: string, signal: AbortSignal): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const headers = {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(body),
      ...(token !== "" && { authorization: `Bearer ${token}` }),
    };
    // No agent: the connection is this call's own and ends with it.
    const options = { method: "POST", headers, signal, agent: false };
    const call = (url.protocol === "https:" ? secureRequest : request)(url, options, (response) => {
      const { statusCode: status = 0, headers: answered } = response;
      readAll(response).then((text) => resolve({ status, text, retryAfter: answered["retry-after"] }), reject);
    });
    call.on("error", reject);
    call.end(body);
  });
}

async function readAll(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > LIMITS.resultBytesBlobMax)
      throw new ClusterError("result_too_large", `The tool's output is larger than ${LIMITS.resultBytesBlobMax} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
