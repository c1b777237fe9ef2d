/** A request on its way through the router: what it needs, as it was read once, and what became of it so far. */
import { createHash } from "node:crypto";
import type { LentModel } from "@openclaw-cluster/contract/models";
import { needsOf, type ModelNeeds } from "../../core/models/model-needs.ts";
import { placeKey, type PlaceKey } from "../../core/models/place.ts";
import { prefixChain, type PrefixChain } from "../../core/models/prefix-chain.ts";
import { promptParts, type PromptKind } from "../../core/models/prompt-parts.ts";
import { objection } from "../../core/models/request-form.ts";
import { randomId } from "../../system/random-id.ts";
import { CONTEXT_CODE } from "./hearing.ts";
import { isStreamed, RouteRefusal, type ModelAsker, type ModelPath, type ModelRequest } from "../models.ts";
import { isFault } from "./route-refusals.ts";

/** R1 in router.ts: the first, and two more. */
const ATTEMPTS_MAX = 3;
/** R1: with those that do not take it. */
const PLACES_MAX = 16;
/** In lines, in all: OpenAI's clients wait 10 minutes for a first byte, of which the answer needs some. */
const WAIT_MS_MAX = 300_000;
const PROMPTS: Readonly<Record<ModelPath, PromptKind>> = {
  "/chat/completions": "chat",
  "/responses": "responses",
  "/embeddings": "embeddings",
};

export class Going {
  readonly id = randomId();
  readonly request: ModelRequest;
  /** Two people's sessions of one name are two. */
  readonly session: string | undefined;
  readonly needs: ModelNeeds;
  readonly chain: PrefixChain;
  readonly streams: boolean;
  readonly failures: Error[] = [];
  /** Nodes that it was sent to. */
  asked = 0;
  waitLeftMs = WAIT_MS_MAX;
  /** Of the place where it is or was last, in one sentence. */
  why: string | undefined;
  private readonly passed = new Set<PlaceKey>();
  /** A server with so many was too small for it. */
  private contextAbove = 0;

  /** Throws RouteRefusal where it holds what no request may. */
  constructor(request: ModelRequest) {
    const path = PROMPTS[request.path];
    const parts = promptParts(path, request.body);
    const wrong = objection(request.body, parts);
    if (wrong !== undefined) throw new RouteRefusal(400, "bad_request", wrong);
    this.request = request;
    this.session = request.session === undefined ? undefined : JSON.stringify([userOf(request.asker), request.session]);
    this.needs = needsOf(path, request.body, parts);
    this.chain = prefixChain(parts, hashed);
    this.streams = isStreamed(request);
  }

  /** It is not sent there again. */
  pass(model: LentModel): void {
    this.passed.add(placeKey(model));
  }

  failed(error: Error): void {
    this.failures.push(error);
  }

  tooLongFor(model: LentModel): void {
    this.contextAbove = Math.max(this.contextAbove, model.contextTokens ?? 0);
  }

  /** May it still be sent there? */
  isLeft(model: LentModel): boolean {
    return !this.passed.has(placeKey(model)) && (model.contextTokens ?? Infinity) > this.contextAbove;
  }

  get isSpent(): boolean {
    return this.failures.filter(isFault).length >= ATTEMPTS_MAX || this.passed.size >= PLACES_MAX || this.waitLeftMs <= 0;
  }
}

/** For whom it is asked; whoever has no name is known by the token. */
export const userOf = ({ token, name }: ModelAsker): string => name ?? token;

export const isTooLong = (error: unknown): boolean => error instanceof RouteRefusal && error.code === CONTEXT_CODE;

const hashed = (previous: string, block: string): string => createHash("sha1").update(previous).update(block).digest("base64url");
