/**
 * OpenAI's API in front of the router of models: on a control node beside the cluster's own API, and on each node's loopback.
 *
 * O1. What OpenAI's clients understand: paths, errors and streams have OpenAI's shapes.
 * O2. Nothing is read ahead of a reader, and a reader that goes away ends the request where it is answered.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { pipeline } from "node:stream";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { LentModel } from "@openclaw-cluster/contract/models";
import {
  QUESTION_BYTES_MAX,
  QUESTION_FIELDS_MAX,
  RouteRefusal,
  type ModelAsker,
  type ModelPath,
  type ModelRouter,
  type RoutedAnswer,
} from "../models/models.ts";
import type { ApiTokenRow } from "../store/store.ts";
import type { Log } from "../system/log.ts";
import { GrowingBytes } from "../system/growing-bytes.ts";
import { isTooDeep } from "../system/json-depth.ts";
import { jsonOf } from "../system/json-of.ts";
import { hasMoreThan } from "../system/json-size.ts";
import { SECURITY_HEADERS } from "./answers.ts";
import { userOf } from "../core/visibility.ts";
import { isSending } from "./body.ts";

export const MODELS_PREFIX = "/v1/";
const PATHS: Readonly<Record<string, ModelPath>> = {
  "/v1/chat/completions": "/chat/completions",
  "/v1/responses": "/responses",
  "/v1/embeddings": "/embeddings",
};
const ONE_PREFIX = "/v1/models/";
const EVENTS = "text/event-stream";
const JSON_TYPE = "application/json";
/** Of requests that are large, in memory at once, from their first byte to the end of their answer. */
const BODIES_BYTES_MAX = 64 * 1024 * 1024;
const BODIES_AGAIN_MS = 2_000;
/** Up to this size a body is let in while large ones are not. */
const SMALL_BYTES_MAX = 64 * 1024;
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
  const bodies = openBodies();
  async function serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const gone = new AbortController();
    outgoing.on("close", () => gone.abort());
    try {
      const asker = admit(incoming);
      const [path = ""] = (incoming.url ?? "").split("?");
      if (incoming.method === "GET" && path === "/v1/models")
        return sendJson(outgoing, 200, { object: "list", data: await listOf(router) });
      if (incoming.method === "GET" && path.startsWith(ONE_PREFIX)) return sendJson(outgoing, 200, await oneOf(router, nameIn(path)));
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

interface OpenBodies {
  /** It counts as being in memory until the answer is over. */
  read(incoming: IncomingMessage, outgoing: ServerResponse): Promise<Record<string, unknown>>;
}

function openBodies(): OpenBodies {
  let heldBytes = 0;
  return {
    async read(incoming, outgoing) {
      let bytes = 0;
      outgoing.once("close", () => (heldBytes -= bytes));
      const text = await textOf(incoming, (chunk) => {
        bytes += chunk.length;
        heldBytes += chunk.length;
        if (bytes > QUESTION_BYTES_MAX) throw tooLarge();
        if (bytes > SMALL_BYTES_MAX && heldBytes > BODIES_BYTES_MAX)
          throw new RouteRefusal(429, "overloaded", "Too many large requests at once.", { retryAfterMs: BODIES_AGAIN_MS });
      });
      return bodyOf(text);
    },
  };
}

const tooLarge = (): RouteRefusal => new RouteRefusal(413, "request_too_large", `A request has at most ${QUESTION_BYTES_MAX} bytes.`);

/** Not `for await`: leaving that early would end the connection, and whoever sends would not hear why. */
function textOf(incoming: IncomingMessage, judge: (chunk: Buffer) => void): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    if (Number(incoming.headers["content-length"] ?? 0) > QUESTION_BYTES_MAX) return reject(tooLarge());
    const text = new GrowingBytes();
    incoming.on("data", (chunk: Buffer) => {
      try {
        judge(chunk);
        text.add(chunk);
      } catch (error) {
        incoming.removeAllListeners("data").pause();
        reject(error as Error);
      }
    });
    incoming.on("end", () => resolve(text.all));
    const cut = (): void => reject(new RouteRefusal(400, "bad_request", "The body did not arrive whole."));
    incoming.on("error", cut).on("close", cut);
  });
}

function bodyOf(text: Buffer): Record<string, unknown> {
  if (hasMoreThan(QUESTION_FIELDS_MAX, text))
    throw new RouteRefusal(400, "bad_request", `A request has at most ${QUESTION_FIELDS_MAX} lists, objects and fields.`);
  const body = isTooDeep(text) ? undefined : jsonOf(text.toString());
  if (typeof body !== "object" || body === null || Array.isArray(body))
    throw new RouteRefusal(400, "bad_request", "The body is no JSON object that can be read.");
  return body as Record<string, unknown>;
}

function sessionOf({ headers }: IncomingMessage): string | undefined {
  const session = headers[SESSION_HEADER];
  return typeof session === "string" && session !== "" ? session.slice(0, SESSION_CHARS_MAX) : undefined;
}

interface Listed {
  readonly id: string;
  readonly object: "model";
  readonly created: 0;
  readonly owned_by: string;
  /** The most tokens that one request can have, prompt and answer together; absent where no server has told. */
  readonly context_length?: number;
}

/** Each name once, whichever nodes have it. */
async function listOf(router: ModelRouter): Promise<Listed[]> {
  const all = await router.list();
  const byId = Map.groupBy(all, ({ id }) => id);
  const listed = [...byId].map(([id, places]) => entry(id, [...new Set(places.map(({ node }) => node))].join(","), places));
  const auto = all.filter(({ can, paid }) => can.chat && paid !== true);
  return listed.length === 0 ? [] : [entry("auto", "cluster", auto), ...listed];
}

function entry(id: string, owner: string, places: readonly LentModel[]): Listed {
  const tokens = Math.max(0, ...places.map(({ contextTokens = 0 }) => contextTokens));
  return { id, object: "model", created: 0, owned_by: owner, ...(tokens > 0 && { context_length: tokens }) };
}

function nameIn(path: string): string {
  const name = path.slice(ONE_PREFIX.length);
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

async function oneOf(router: ModelRouter, id: string): Promise<Listed> {
  const found = (await listOf(router)).find((one) => one.id === id);
  if (found === undefined) throw new RouteRefusal(404, "model_not_found", `There is no model ${id}.`);
  return found;
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
