/**
 * Routes requests for models to the nodes that lend them. What is chosen, and in which order, is decided in core/models; here it is
 * carried out: waiting, asking, going on to the next one.
 *
 * R1. Before its first token an answer can still be another node's: the next candidate is asked, ATTEMPTS_MAX in all. A place that
 *     does not take the request (its node's rule, a full line) costs none of them.
 * R2. What a node's server says of the request itself (a 4xx) is the answer. What it says of itself, and all else, is tried elsewhere.
 * R3. Whoever asked and goes away ends the request wherever it is: in a line, or at a node.
 * R4. An answer that is cut after its first token ends with an error event, whose code is node_lost.
 */
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { LentModel } from "@openclaw-cluster/contract/models";
import { Breakers, type Ending } from "../core/models/breaker.ts";
import { chooseModel, type ModelCandidate } from "../core/models/choose.ts";
import { EndpointRoom } from "../core/models/endpoint-room.ts";
import { resolveModel, type Aliases } from "../core/models/model-names.ts";
import { needsOf, type ModelNeeds } from "../core/models/model-needs.ts";
import { ModelRates } from "../core/models/model-rates.ts";
import type { ModelRefusal } from "../core/models/model-refusal.ts";
import { placeKey, placeName, type PlaceKey } from "../core/models/place.ts";
import { prefixChain, PrefixMemory, type PrefixChain } from "../core/models/prefix-chain.ts";
import { promptParts, type PromptKind } from "../core/models/prompt-parts.ts";
import { SessionPlaces } from "../core/models/session-places.ts";
import { nameHash } from "../core/scheduling/hash.ts";
import type { Clock } from "../system/clock.ts";
import { jsonOf } from "../system/json-of.ts";
import type { Log } from "../system/log.ts";
import { randomId } from "../system/random-id.ts";
import { lostEvent, passOn, untilFirstToken } from "./first-token.ts";
import { PolicyRefusal, type Lender } from "./lending.ts";
import { readWhole } from "./line-body.ts";
import {
  ModelFault,
  RouteRefusal,
  type ModelAnswer,
  type ModelAsker,
  type ModelPath,
  type ModelRequest,
  type ModelRouter,
  type RoutedAnswer,
} from "./models.ts";
import { Places } from "./places.ts";

/** R1: the first, and two more. */
const ATTEMPTS_MAX = 3;
/** R1: with those that do not take it. */
const PLACES_MAX = 16;
/** An answer that comes as one piece; embeddings of some hundred texts. */
const WHOLE_BYTES_MAX = 32 * 1024 * 1024;
/** Of a server's error; a sentence of it is shown. */
const ERROR_BYTES_MAX = 64 * 1024;
const ERROR_CHARS_SHOWN = 300;
/** R2: no key, another one, not found (any more), too slow, too busy. */
const OF_ITSELF: ReadonlySet<number> = new Set([401, 403, 404, 408, 429]);
/** A server that is too busy does not say for how long in a way that all share. */
const BUSY_AGAIN_MS = 1_000;
/** llama-server's word for what OpenAI calls context_length_exceeded. */
const CONTEXT_EXCEEDED = "exceed_context_size_error";
/** A model server puts an unused model away after that long at the earliest (Ollama). */
const CACHED_MS = 300_000;
/** Until it is measured: over a network at home, there and back. */
const ROUND_TRIP_MS = 2;
const PROMPTS: Readonly<Record<ModelPath, PromptKind>> = {
  "/chat/completions": "chat",
  "/responses": "responses",
  "/embeddings": "embeddings",
};

export interface RouterParts {
  readonly aliases: () => Aliases;
  readonly clock: Clock;
  readonly log: Log;
}

/** A request on its way. */
interface Going {
  readonly id: string;
  readonly request: ModelRequest;
  readonly needs: ModelNeeds;
  readonly chain: PrefixChain;
  /** Places that are not chosen again. */
  readonly passed: Set<PlaceKey>;
  readonly failures: Error[];
  /** Nodes that it was sent to. */
  asked: number;
  readonly streams: boolean;
}

/** One that has its turn at a place. */
interface Asked {
  readonly model: LentModel;
  readonly begunAt: number;
  /** Others at the endpoint, as it began. */
  readonly beside: number;
  readonly unreadTokens: number;
  /** As it was predicted. */
  readonly readMs: number;
  leave(ending: Ending): void;
}

export class Router implements ModelRouter {
  private readonly parts: RouterParts;
  private readonly lenders = new Map<NodeId, Lender>();
  private readonly places: Places;
  private readonly rates = new ModelRates();
  private readonly breakers = new Breakers();
  private readonly prompts = new PrefixMemory();
  private readonly sessions = new SessionPlaces();
  private readonly room = new EndpointRoom();

  constructor(parts: RouterParts) {
    this.parts = parts;
    this.places = new Places(parts.clock);
  }

  /** Until it ends; a newer line of the same node takes its place. */
  lends(node: NodeId, lender: Lender): void {
    this.lenders.get(node)?.close();
    this.lenders.set(node, lender);
    lender.onChange(() => this.sawModels());
    void lender.ended.then(() => {
      if (this.lenders.get(node) !== lender) return;
      this.lenders.delete(node);
      this.prompts.forgetNode(node);
    });
  }

  list(): Promise<readonly LentModel[]> {
    return Promise.resolve(this.models);
  }

  private get models(): readonly LentModel[] {
    return [...this.lenders].flatMap(([node, { models }]) => models.map((model) => ({ ...model, node })));
  }

  close(): void {
    for (const lender of this.lenders.values()) lender.close();
  }

  /** What was put away has forgotten its prompts. */
  private sawModels(): void {
    const { models } = this;
    this.room.saw(models);
    for (const model of models) if (model.state === "cold") this.prompts.forget(model);
  }

  async answer(request: ModelRequest, signal: AbortSignal): Promise<RoutedAnswer> {
    const path = PROMPTS[request.path];
    const parts = promptParts(path, request.body);
    const going: Going = {
      ...{ id: randomId(), request, passed: new Set(), failures: [], asked: 0 },
      needs: needsOf(path, request.body, parts),
      chain: prefixChain(parts, hashed),
      streams: path !== "embeddings" && request.body["stream"] === true,
    };
    while (going.failures.filter(isFault).length < ATTEMPTS_MAX && going.passed.size < PLACES_MAX) {
      signal.throwIfAborted();
      const candidate = this.next(going);
      going.passed.add(placeKey(candidate.model));
      try {
        return await this.askAt(candidate, going, signal);
      } catch (error) {
        if (signal.aborted) throw error;
        going.failures.push(error as Error);
        this.parts.log.info({ err: error, node: candidate.model.node, model: candidate.model.id }, "a node did not answer for a model");
      }
    }
    throw lost(going);
  }

  /** Throws RouteRefusal where there is none. */
  private next(going: Going): ModelCandidate {
    const { request, needs, chain, passed, failures } = going;
    const { clock } = this.parts;
    const { models } = this;
    const meant = request.on === undefined ? models : models.filter(({ node }) => node === request.on);
    const named = resolveModel(request.body["model"], meant, this.parts.aliases());
    if (named.kind === "refused") {
      // The last one that had it went away with it.
      if (failures.length > 0) throw lost(going);
      const status = named.reason === "unknown_model" ? 404 : 400;
      throw new RouteRefusal(status, named.reason === "unknown_model" ? "model_not_found" : "bad_request", named.detail);
    }
    const groups = named.groups.map((group) => ({ ...group, models: group.models.filter((model) => !passed.has(placeKey(model))) }));
    const now = clock.monotonic();
    const lastPlace = request.session === undefined ? undefined : this.sessions.last(sessionKey(request.asker, request.session), now);
    const choice = chooseModel({
      groups,
      needs,
      rates: this.rates,
      lastPlace,
      requestHash: nameHash(going.id),
      view: {
        load: (model) => this.places.load(model, ROUND_TRIP_MS, this.room.displacesMs(model, models, this.rates, now)),
        hit: (model) => this.prompts.hit(model, chain, now),
        breakerMs: (model) => this.breakers.waitMs(model, now),
        forbidden: () => undefined,
        weight: () => 1,
      },
    });
    if (choice.kind === "chosen") return choice.candidates[0] as ModelCandidate;
    throw failures.length === 0 ? refusalOf(choice.refusal) : lost(going);
  }

  private async askAt({ model, prediction, hit }: ModelCandidate, going: Going, signal: AbortSignal): Promise<RoutedAnswer> {
    const { id, request, chain } = going;
    const { clock } = this.parts;
    const user = request.asker.name ?? request.asker.token;
    await this.places.enter(model, { id, user, lane: request.lane, workMs: prediction.endMs }, signal);
    const waitMs = this.breakers.waitMs(model, clock.monotonic());
    // The node may have gone, or its line is a new one; and those before it may all have failed.
    const lender = this.lenders.get(model.node);
    if (waitMs > 0 || lender === undefined) {
      this.places.leave(model, id);
      if (lender === undefined) throw new ModelFault("unreachable", "the node is gone");
      throw new RouteRefusal(503, "node_lost", `${placeName(model)} failed again and again`, { retryAfterMs: waitMs });
    }
    this.breakers.begin(model, clock.monotonic());
    const { inFlight, beside } = this.places.load(model, 0, 0);
    const at: Asked = {
      ...{ model, begunAt: clock.monotonic(), beside: inFlight - 1 + beside },
      unreadTokens: going.needs.promptTokens * (1 - hit),
      readMs: prediction.terms.read,
      leave: (ending) => {
        this.places.leave(model, id);
        this.breakers.end(model, ending, clock.monotonic());
      },
    };
    try {
      const question = { path: request.path, model: model.id, endpoint: model.endpoint, body: request.body };
      going.asked++;
      const answer = await lender.ask(question, request.asker, signal);
      const passed = await this.pass(answer, going, at);
      if (passed.status >= 400) return { ...passed, node: model.node, model: model.id, attempts: going.asked };
      if (request.session !== undefined) this.sessions.remember(sessionKey(request.asker, request.session), model, clock.monotonic());
      this.room.used(model, clock.monotonic());
      this.prompts.remember(model, chain, clock.monotonic() + CACHED_MS);
      return { ...passed, node: model.node, model: model.id, attempts: going.asked };
    } catch (error) {
      at.leave(signal.aborted ? "given_up" : endingOf(error));
      throw error;
    }
  }

  /** Throws where another node may do better (R1, R2). */
  private async pass(answer: ModelAnswer, { streams }: Going, at: Asked): Promise<ModelAnswer> {
    const { status } = answer;
    if (status < 200 || (status >= 300 && status < 400) || status >= 500 || OF_ITSELF.has(status)) throw await troubleOf(answer);
    if (status < 300 && streams) return { ...answer, body: this.follow(await untilFirstToken(answer.body), at) };
    const whole = await readWhole(answer.body, WHOLE_BYTES_MAX);
    at.leave(status >= 400 ? "wrong" : "answered");
    return { ...answer, body: Readable.from([status >= 400 ? inOpenAisWords(whole) : whole], { objectMode: false }) };
  }

  /** What comes from the first token on; what it teaches is learned at its end. */
  private follow(body: Readable, { model, begunAt, beside, unreadTokens, readMs, leave }: Asked): Readable {
    const { clock } = this.parts;
    const firstAt = clock.monotonic();
    const firstMs = firstAt - begunAt;
    if (model.state === "cold") this.rates.learnLoad(model, firstMs - readMs);
    else if (model.state === "loaded") this.rates.learnRead(model, unreadTokens, firstMs, beside);
    let tokens = 0;
    return passOn(body, (fault) => errorEvent(fault, model), {
      events: (count) => (tokens += count),
      over: (how) => {
        leave(how instanceof ModelFault ? endingOf(how) : "answered");
        // Who left may have been reading slowly.
        if (how === undefined) this.rates.learnWrite(model, tokens, clock.monotonic() - firstAt, beside);
      },
    });
  }
}

const hashed = (previous: string, block: string): string => createHash("sha1").update(previous).update(block).digest("base64url");

/** Two people's sessions of one name are two. */
const sessionKey = ({ token, name }: ModelAsker, session: string): string => JSON.stringify([name ?? token, session]);

function endingOf(error: unknown): Ending {
  // Its node says nothing of its server.
  if (error instanceof PolicyRefusal) return "given_up";
  if (error instanceof RouteRefusal) return "wrong";
  if (!(error instanceof ModelFault)) return "faulty";
  switch (error.kind) {
    case "unreachable":
      return "unreachable";
    case "silent":
      return "silent";
    case "garbage":
    case "too_large":
      return "faulty";
    case "unknown_model":
    case "crowded":
      return "given_up";
    case "unsupported":
      return "wrong";
  }
}

/** R4. */
function errorEvent(fault: ModelFault, { id, node }: LentModel): string {
  return lostEvent(`${node}, which was answering for ${id}, is gone or its server failed: ${fault.message}`);
}

/** R2: what a server says of itself. */
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

/** Agents shorten their prompt when they are told by this code. The rest stays as the server has said it. */
function inOpenAisWords(said: Buffer): Buffer {
  const text = said.toString();
  if (!text.includes(CONTEXT_EXCEEDED)) return said;
  const { error } = (jsonOf(text) ?? {}) as { error?: { type?: unknown } };
  if (error?.type !== CONTEXT_EXCEEDED) return said;
  return Buffer.from(
    JSON.stringify({ error: { ...error, type: "invalid_request_error", param: "messages", code: "context_length_exceeded" } }),
  );
}

/** R1: it cost an attempt. */
const isFault = (failure: Error): boolean => !(failure instanceof PolicyRefusal || failure instanceof RouteRefusal);

/** Of several reasons the one that is nearest to an answer: what will do later, before what is broken, before what never will. */
function lost({ asked, failures }: Going): RouteRefusal {
  const rankOf = (failure: Error): number => {
    if (failure instanceof RouteRefusal) return 0;
    if (failure instanceof PolicyRefusal) return 2;
    if (!(failure instanceof ModelFault)) return 1;
    return failure.kind === "unsupported" ? 3 : failure.kind === "unknown_model" ? 4 : 1;
  };
  const told = failures.toReversed().toSorted((a, b) => rankOf(a) - rankOf(b))[0];
  const more = { attempts: asked };
  if (told instanceof RouteRefusal) {
    const { status, code, message, retryAfterMs } = told;
    return new RouteRefusal(status, code, message, { ...more, ...(retryAfterMs !== undefined && { retryAfterMs }) });
  }
  if (told instanceof PolicyRefusal) return new RouteRefusal(403, "policy_denied", told.message, more);
  if (told instanceof ModelFault && told.kind === "unsupported") return new RouteRefusal(400, "unsupported", told.message, more);
  if (told instanceof ModelFault && told.kind === "unknown_model") return new RouteRefusal(404, "model_not_found", told.message, more);
  return new RouteRefusal(502, "node_lost", `No node could answer; the last one said: ${told?.message ?? "nothing"}`, more);
}

function refusalOf(refusal: ModelRefusal): RouteRefusal {
  switch (refusal.reason) {
    case "all_breakers_open":
      return new RouteRefusal(503, "node_lost", refusal.detail, { retryAfterMs: refusal.retryAfterMs });
    case "forbidden":
      return new RouteRefusal(403, "policy_denied", refusal.detail);
    case "context_too_small":
      return new RouteRefusal(400, "context_length_exceeded", refusal.detail);
    case "unable":
      return new RouteRefusal(400, "unsupported", refusal.detail);
  }
}
