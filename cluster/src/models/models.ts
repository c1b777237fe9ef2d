/**
 * The door to the model servers of this machine: what they have, and how one of them is asked.
 *
 * M1. Endpoints come from this machine's settings and from the well-known ports of its loopback, never from a request.
 * M2. Only chat, responses, embeddings and lists are ever asked for: never to pull, make, load by hand or delete a model.
 * M3. What a server says is read with limits of time and size, and what is not understood is as if it had not been said.
 */
import type { Duplex, Readable } from "node:stream";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { LentModel, ModelServerKind, NodeModelOffer } from "@openclaw-cluster/contract/models";
import type { ModelPlan } from "@openclaw-cluster/contract/model-requests";
import type { Lane } from "../core/models/model-queue.ts";
import type { Place } from "../core/models/place.ts";
import type { RequestBook } from "../core/models/request-book.ts";
import { isTooDeep } from "../system/json-depth.ts";
import { jsonOf } from "../system/json-of.ts";
import { hasMoreThan } from "../system/json-size.ts";

export interface ModelEndpoint {
  /** Unique on this machine. */
  readonly name: string;
  /** With or without `/v1` at its end. */
  readonly url: string;
  /** Absent: it is found out. */
  readonly kind?: ModelServerKind;
  readonly apiKey?: string;
  /** Each answer costs money. */
  readonly paid?: boolean;
}

/** The servers of this machine, looked at again and again. */
export interface ModelShelf {
  /** In the order of endpoints and as each server lists them. */
  readonly models: readonly NodeModelOffer[];
  /** Called after each change of `models`. */
  onChange(listener: () => void): { stop(): void };
  /** Looks now; resolves when it has. */
  look(): Promise<void>;
  /** M2. Rejects with ModelFault. */
  ask(question: ModelQuestion, signal: AbortSignal): Promise<ModelAnswer>;
  close(): void;
}

export const MODEL_PATHS = ["/chat/completions", "/responses", "/embeddings"] as const;
export type ModelPath = (typeof MODEL_PATHS)[number];
/** A question as JSON: a chat with pictures in it. */
export const QUESTION_BYTES_MAX = 16 * 1024 * 1024;
/**
 * Lists, objects and fields in it: ten thousand messages with calls of tools, or a thousand tools. To read more holds up everybody else:
 * sixteen megabytes of them take a second here, at whoever leads, and at the node that lends.
 */
export const QUESTION_FIELDS_MAX = 131_072;

/** Throws ModelFault garbage. */
export function questionIn(bytes: Buffer): Readonly<Record<string, unknown>> {
  if (hasMoreThan(QUESTION_FIELDS_MAX, bytes))
    throw new ModelFault("garbage", `A request has at most ${QUESTION_FIELDS_MAX} lists, objects and fields.`);
  const body = isTooDeep(bytes) ? undefined : jsonOf(bytes);
  if (typeof body !== "object" || body === null || Array.isArray(body))
    throw new ModelFault("garbage", "The body is no JSON object that can be read.");
  return body as Readonly<Record<string, unknown>>;
}

/** Is it answered piece by piece? Vectors never are, whatever is asked. */
export const isStreamed = ({ path, body }: Pick<ModelQuestion, "path" | "body">): boolean =>
  path !== "/embeddings" && body["stream"] === true;

export interface ModelQuestion {
  readonly path: ModelPath;
  readonly model: string;
  readonly endpoint: string;
  /** The request's JSON, of which `model` is replaced. */
  readonly body: Readonly<Record<string, unknown>>;
}

export interface ModelAnswer {
  readonly status: number;
  readonly contentType: string;
  /** As it comes; nothing is read ahead of whoever reads it. Destroying it ends the request at the server. */
  readonly body: Readable;
}

/**
 * unreachable: no connection, or it ended before an answer. silent: no first byte in time. garbage: no answer that can be read. too_large: beyond a
 * limit. crowded: too much is asked at once. unknown_model: this machine does not have it (any more). unsupported: its server does not do that.
 */
export const MODEL_FAULTS = ["unreachable", "silent", "garbage", "too_large", "crowded", "unknown_model", "unsupported"] as const;
export type ModelFaultKind = (typeof MODEL_FAULTS)[number];

export class ModelFault extends Error {
  override name = "ModelFault";
  readonly kind: ModelFaultKind;

  constructor(kind: ModelFaultKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

/** For whom it is asked, as a node's policy knows users. */
export interface ModelAsker {
  /** The id of the token that asks. */
  readonly token: string;
  /** For whom it speaks. */
  readonly name?: string;
}

/** A request as it comes to the router. */
export interface ModelRequest {
  readonly path: ModelPath;
  readonly body: Readonly<Record<string, unknown>>;
  readonly asker: ModelAsker;
  /** Requests with the same one like to go where the last one went. */
  readonly session?: string;
  /** Batches wait behind interactive requests (Q2 in core/models/model-queue.ts). */
  readonly lane: Lane;
  /** Only this node's models will do. */
  readonly on?: NodeId;
  /** Whoever asks is a node itself, and may answer by itself. */
  readonly own?: OwnPlace;
}

/** A node that asks, and is told to ask a server of its own: the answer then needs no way through whoever leads. */
export interface OwnPlace {
  readonly node: NodeId;
  /** Resolves when it has begun to answer. Rejects with ModelFault and RouteRefusal where it could not: another node may. */
  begin(grant: OwnGrant): Promise<OwnRun>;
}
export interface OwnGrant extends Pick<RoutedAnswer, "attempts" | "id" | "why"> {
  readonly model: string;
  readonly endpoint: string;
}
export interface OwnRun {
  /** It is a stream, and its first token has come. */
  readonly isStream: boolean;
  readonly over: Promise<Over>;
}

/** answered: to its end. wrong: the request itself was, says the server. cut: it ended with an error event. left: whoever asked went away. */
export type Over =
  | { readonly how: "answered" | "wrong" | "left"; readonly tokens: number }
  | { readonly how: "cut"; readonly fault: ModelFault };

/** As whoever asked gets it. The body ends with an error event where it was cut (R4 in router.ts). */
export interface RoutedAnswer extends ModelAnswer {
  readonly node?: string;
  readonly model?: string;
  /** Nodes that were asked for it, the last one included. */
  readonly attempts: number;
  /** Under which it is in the book of whoever leads. */
  readonly id?: string;
  /** Of that node, in one sentence (core/models/why-sentence.ts). */
  readonly why?: string;
  /** The node that asks answers by itself: there is no body. */
  readonly isOwn?: true;
}

/** Whoever routes requests to the nodes that lend. */
export interface ModelRouter {
  /** All that is lent. */
  list(): Promise<readonly LentModel[]>;
  /** Rejects with RouteRefusal. */
  answer(request: ModelRequest, signal: AbortSignal): Promise<RoutedAnswer>;
}

/**
 * Why a request is not answered, in OpenAI's words. `code`: model_not_found, context_length_exceeded, unsupported, policy_denied,
 * overloaded, node_lost, bad_request.
 */
export class RouteRefusal extends Error {
  override name = "RouteRefusal";
  readonly status: number;
  readonly code: string;
  readonly retryAfterMs: number | undefined;
  readonly attempts: number;
  /** As of an answer. */
  readonly id: string | undefined;
  readonly why: string | undefined;

  constructor(
    status: number,
    code: string,
    message: string,
    more: { retryAfterMs?: number; attempts?: number; id?: string; why?: string } = {},
  ) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfterMs = more.retryAfterMs;
    this.attempts = more.attempts ?? 0;
    this.id = more.id;
    this.why = more.why;
  }

  /** The same of the request with that id. */
  of(id: string): RouteRefusal {
    const { status, code, message, retryAfterMs, attempts, why } = this;
    return new RouteRefusal(status, code, message, {
      ...{ attempts, id },
      ...(retryAfterMs !== undefined && { retryAfterMs }),
      ...(why !== undefined && { why }),
    });
  }
}

/** lend: whoever leads asks the node; ask: the node asks whoever leads. */
export type LineWay = "lend" | "ask";

/** What goes on at a place: those that wait for their turn, and those that have it. */
export interface PlaceWork {
  readonly place: Place;
  readonly queued: number;
  readonly inFlight: number;
}

/** What people can see of requests for models, at whoever leads. */
export interface ModelSight {
  readonly book: RequestBook;
  /** What would become of it now; nobody is asked. */
  plan(request: Omit<ModelRequest, "lane">): ModelPlan;
  /** Places where nothing goes on are left out. */
  loads(): readonly PlaceWork[];
}

/** What whoever leads has for the nodes. */
export interface ModelDesk {
  readonly router: ModelRouter;
  /** Absent where its router keeps no book. */
  readonly sight?: ModelSight;
  /** A node that has proved itself has opened a line. */
  attach(node: NodeId, way: LineWay, socket: Duplex): void;
}

/** What a node's line is asked for by, as HTTP's Upgrade. */
export const LINE_UPGRADE = "openclaw-cluster-models";
export const linePath = (node: NodeId, way: LineWay): string => `/api/v1/nodes/${node}/models/${way}`;
/** The node's proof in its request, and the coordinator's in the answer to it, each packed. */
export const LINE_PROOF = "x-openclaw-cluster-proof";
export const LINE_SESSION = "x-openclaw-cluster-session";

/** As a header carries it. */
export const packed = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
/** undefined: there is none that can be read. */
export const unpacked = (header: string | string[] | undefined): unknown => jsonOf(Buffer.from(String(header), "base64url"));
