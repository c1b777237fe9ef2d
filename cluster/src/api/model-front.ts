/**
 * OpenAI's API in front of the router of models: on a control node beside the cluster's own API, and on each node's loopback.
 *
 * O1. What OpenAI's clients understand: paths, errors and streams have OpenAI's shapes.
 * O2. Nothing is read ahead of a reader, and a reader that goes away ends the request where it is answered.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { pipeline } from "node:stream";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { userOf } from "../core/visibility.ts";
import { RouteRefusal, type ModelAsker, type ModelPath, type ModelRouter, type RoutedAnswer } from "../models/models.ts";
import type { ApiTokenRow } from "../store/store.ts";
import type { Log } from "../system/log.ts";
import { refuse as refuseProblem, SECURITY_HEADERS } from "./answers.ts";
import { isSending } from "./body.ts";
import { openModelBodies } from "./model-body.ts";
import { listOf, oneOf } from "./model-list.ts";

export const MODELS_PREFIX = "/v1/";
const PATHS: Readonly<Record<string, ModelPath>> = {
  "/v1/chat/completions": "/chat/completions",
  "/v1/responses": "/responses",
  "/v1/embeddings": "/embeddings",
};
const ONE_PREFIX = "/v1/models/";
const EVENTS = "text/event-stream";
const JSON_TYPE = "application/json";
/** How long a caller that is still sending has to see that it was refused (body.ts). */
const LINGER_MS = 1_000;
const SESSION_HEADER = "x-openclaw-session-key";
const SESSION_CHARS_MAX = 256;
const WHY_CHARS_MAX = 512;
/** OpenAI's word for what may wait. */
const FLEX = "flex";

export interface ModelFrontParts {
  readonly router: ModelRouter;
  /** Who asks; throws ClusterError. */
  admit(incoming: IncomingMessage): ModelAsker;
  readonly log: Log;
}

export function openModelFront({ router, admit, log }: ModelFrontParts) {
  const bodies = openModelBodies();
  async function serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const gone = new AbortController();
    outgoing.on("close", () => gone.abort());
    try {
      const asker = admit(incoming);
      const [path = ""] = (incoming.url ?? "").split("?");
      if (incoming.method === "GET" && path === "/v1/models")
        return sendJson(outgoing, 200, { object: "list", data: await listOf(router) });
      if (incoming.method === "GET" && path.startsWith(ONE_PREFIX))
        return sendJson(outgoing, 200, await oneOf(router, path.slice(ONE_PREFIX.length)));
      const known = Object.hasOwn(PATHS, path) ? PATHS[path] : undefined;
      if (known === undefined) throw new RouteRefusal(404, "unknown_url", `There is no ${incoming.method} ${path} here.`);
      if (incoming.method !== "POST") throw new RouteRefusal(405, "method_not_allowed", "This is asked with POST.");
      const body = await bodies.read(incoming, outgoing);
      const session = sessionOf(incoming);
      const lane = body["service_tier"] === FLEX ? "batch" : "interactive";
      const answer = await router.answer({ path: known, body, asker, lane, ...(session !== undefined && { session }) }, gone.signal);
      if (gone.signal.aborted) answer.body.destroy();
      else send(outgoing, answer, log);
    } catch (error) {
      if (!gone.signal.aborted) refuse(incoming, outgoing, error, log);
    }
  }
  return { serve: (incoming: IncomingMessage, outgoing: ServerResponse): void => void serve(incoming, outgoing) };
}

/** For whom a token speaks, as with tasks. */
export function askerOf(token: ApiTokenRow): ModelAsker {
  return { token: token.id, name: userOf(token) };
}

function send(outgoing: ServerResponse, answer: RoutedAnswer, log: Log): void {
  const { status, contentType, body, node, model, attempts } = answer;
  tellWhy(outgoing, answer);
  outgoing.writeHead(status, {
    ...SECURITY_HEADERS,
    // What a node says of its answer is not for a browser to judge.
    "content-type": contentType.startsWith(EVENTS) ? EVENTS : JSON_TYPE,
    "x-cluster-attempts": String(attempts),
    ...(node !== undefined && { "x-cluster-node": node }),
    ...(model !== undefined && { "x-cluster-model": encodeURIComponent(model.toWellFormed()) }),
  });
  pipeline(body, outgoing, (error) => {
    // Each answer that is left ends so.
    if (error && error.code !== "ERR_STREAM_PREMATURE_CLOSE") log.debug({ err: error }, "an answer of a model was cut");
  });
}

/** Another build may have said it: a character that no header takes would end the answer. */
function tellWhy(outgoing: ServerResponse, { id, why }: Pick<RoutedAnswer, "id" | "why"> | RouteRefusal): void {
  const plain = (text: string): string => text.slice(0, WHY_CHARS_MAX).replaceAll(/[^ -~]/g, "?");
  if (id !== undefined) outgoing.setHeader("x-cluster-request", plain(id));
  if (why !== undefined) outgoing.setHeader("x-cluster-why", plain(why));
}

function sessionOf({ headers }: IncomingMessage): string | undefined {
  const session = headers[SESSION_HEADER];
  return typeof session === "string" && session !== "" ? session.slice(0, SESSION_CHARS_MAX) : undefined;
}

/** O1. */
const TYPES: Readonly<Record<number, string>> = {
  400: "invalid_request_error",
  401: "authentication_error",
  403: "permission_error",
  404: "invalid_request_error",
  405: "invalid_request_error",
  413: "invalid_request_error",
  429: "rate_limit_error",
};

/** Whoever asks for a model is told in OpenAI's words, all others as the cluster's API tells. */
export function refuseByPath(incoming: IncomingMessage, outgoing: ServerResponse, error: ClusterError, log: Log): void {
  if (incoming.url?.startsWith(MODELS_PREFIX) === true) refuse(incoming, outgoing, error, log);
  else refuseProblem(outgoing, error);
}

function refuse(incoming: IncomingMessage, outgoing: ServerResponse, thrown: unknown, log: Log): void {
  const refusal = refusalOf(thrown, log);
  if (outgoing.headersSent) return void outgoing.destroy();
  if (refusal.retryAfterMs !== undefined) outgoing.setHeader("retry-after", String(Math.max(1, Math.ceil(refusal.retryAfterMs / 1_000))));
  tellWhy(outgoing, refusal);
  if (refusal.attempts > 0) outgoing.setHeader("x-cluster-attempts", String(refusal.attempts));
  if (refusal.status === 401) outgoing.setHeader("www-authenticate", "Bearer");
  if (incoming.complete) return sendJson(outgoing, refusal.status, errorBody(refusal));
  // What is left of the body is not read, and nobody else is asked on this connection.
  outgoing.setHeader("connection", "close");
  if (!isSending(incoming)) return sendJson(outgoing, refusal.status, errorBody(refusal));
  const text = JSON.stringify(errorBody(refusal));
  outgoing.writeHead(refusal.status, { ...JSON_HEADERS, "content-length": Buffer.byteLength(text) }).write(text);
  const over = setTimeout(() => outgoing.end(), LINGER_MS);
  outgoing.on("close", () => clearTimeout(over));
}

export function errorBody({ status, code, message }: Pick<RouteRefusal, "status" | "code" | "message">): object {
  return { error: { message, type: TYPES[status] ?? "server_error", param: null, code } };
}

function refusalOf(thrown: unknown, log: Log): RouteRefusal {
  if (thrown instanceof RouteRefusal) return thrown;
  if (thrown instanceof ClusterError)
    return new RouteRefusal(thrown.row.status, thrown.code, thrown.detail, {
      ...(thrown.retryAfterMs !== undefined && { retryAfterMs: thrown.retryAfterMs }),
    });
  log.error({ err: thrown }, "a request for a model could not be answered");
  return new RouteRefusal(500, "internal", "This is a fault of ours; the log tells more.");
}

const JSON_HEADERS = { ...SECURITY_HEADERS, "content-type": JSON_TYPE };

function sendJson(outgoing: ServerResponse, status: number, body: object): void {
  outgoing.writeHead(status, JSON_HEADERS);
  outgoing.end(JSON.stringify(body));
}
