/**
 * Routes requests for models to the nodes that lend them. What is chosen, and in which order, is decided in core/models; here it is
 * carried out: waiting, asking, going on to the next one.
 *
 * R1. Before its first token an answer can still be another node's: the next candidate is asked, ATTEMPTS_MAX in all. A place that
 *     does not take the request (its node's rule, a full line) costs none of them.
 * R2. What a node's server says of the request itself is the answer (E1, E2 in hearing.ts). All else is tried elsewhere.
 * R3. Whoever asked and goes away ends the request wherever it is: in a line, or at a node.
 * R4. An answer that is cut after its first token ends with an error event, whose code is node_lost.
 * R5. A node that asks, and whose own model is chosen, answers by itself, and is in that model's line like everybody.
 */
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { LentModel } from "@openclaw-cluster/contract/models";
import { chooseModel, type ModelCandidate, type ModelChoice } from "../core/models/choose.ts";
import { resolveModel, type Aliases } from "../core/models/model-names.ts";
import { needsOf, type ModelNeeds } from "../core/models/model-needs.ts";
import { placeKey, placeName, type PlaceKey } from "../core/models/place.ts";
import { PlaceKnowledge } from "../core/models/place-knowledge.ts";
import { prefixChain, type PrefixChain } from "../core/models/prefix-chain.ts";
import { promptParts, type PromptKind } from "../core/models/prompt-parts.ts";
import { nameHash } from "../core/scheduling/hash.ts";
import type { Clock } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import { randomId } from "../system/random-id.ts";
import { Attempt } from "./attempt.ts";
import { lostEvent } from "./first-token.ts";
import { CONTEXT_CODE, hear } from "./hearing.ts";
import type { Lender } from "./lending.ts";
import {
  ModelFault,
  RouteRefusal,
  type ModelAsker,
  type ModelPath,
  type ModelRequest,
  type ModelRouter,
  type OwnPlace,
  type RoutedAnswer,
} from "./models.ts";
import { Places, type Move } from "./places.ts";
import { endingOf, isFault, lost, refusalOf } from "./route-refusals.ts";

/** R1: the first, and two more. */
const ATTEMPTS_MAX = 3;
/** R1: with those that do not take it. */
const PLACES_MAX = 16;
/** Until it is measured: over a network at home, there and back. */
const ROUND_TRIP_MS = 2;
/** A line is left after that long: OpenAI's clients wait 10 minutes for a first byte, of which the answer needs some. */
const WAIT_MS_MAX = 300_000;
const PROMPTS: Readonly<Record<ModelPath, PromptKind>> = {
  "/chat/completions": "chat",
  "/responses": "responses",
  "/embeddings": "embeddings",
};

export interface RouterParts {
  readonly aliases: () => Aliases;
  /** Why a node is not to be asked for that one, completing "<model> …"; undefined: it may be. The node itself decides again. */
  readonly objection?: (node: NodeId, asker: ModelAsker) => string | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

/** A request on its way. */
interface Going {
  readonly id: string;
  readonly request: ModelRequest;
  readonly session: string | undefined;
  readonly needs: ModelNeeds;
  readonly chain: PrefixChain;
  /** Places that are not chosen again. */
  readonly passed: Set<PlaceKey>;
  readonly failures: Error[];
  /** Nodes that it was sent to. */
  asked: number;
  /** A server with so many was too small for it. */
  contextAbove: number;
  readonly streams: boolean;
  /** It waits in lines for no longer, in all. */
  waitLeftMs: number;
}

export class Router implements ModelRouter {
  private readonly parts: RouterParts;
  private readonly lenders = new Map<NodeId, Lender>();
  private readonly places: Places;
  private readonly knowledge = new PlaceKnowledge();

  constructor(parts: RouterParts) {
    this.parts = parts;
    this.places = new Places(parts.clock);
  }

  /** Until it ends; a newer line of the same node takes its place. */
  lends(node: NodeId, lender: Lender): void {
    this.lenders.get(node)?.close();
    this.lenders.set(node, lender);
    lender.onChange(() => this.sawModels(node));
    this.sawModels(node);
    void lender.ended.then(() => {
      if (this.lenders.get(node) !== lender) return;
      this.lenders.delete(node);
      this.knowledge.prompts.forgetNode(node);
    });
  }

  list(): Promise<readonly LentModel[]> {
    return Promise.resolve(this.models);
  }

  /** Where somebody is at work or waits. */
  loads(): ReturnType<Places["loads"]> {
    return this.places.loads();
  }

  close(): void {
    for (const lender of this.lenders.values()) lender.close();
  }

  async answer(request: ModelRequest, signal: AbortSignal): Promise<RoutedAnswer> {
    const { log } = this.parts;
    const going = begin(request);
    for (;;) {
      signal.throwIfAborted();
      if (isSpent(going)) throw lost(going.asked, going.failures);
      const candidate = this.next(going);
      try {
        return await this.tryAt(candidate, going, signal);
      } catch (error) {
        if (signal.aborted) throw error;
        going.failures.push(error as Error);
        log.info({ err: error, node: candidate.model.node, model: candidate.model.id }, "a node did not answer for a model");
      }
    }
  }

  private get models(): readonly LentModel[] {
    return [...this.lenders].flatMap(([node, { models }]) => models.map((model) => ({ ...model, node })));
  }

  /** What is new may be better for those that wait. */
  private sawModels(of: NodeId): void {
    this.knowledge.saw(this.models);
    for (const model of this.models) if (model.node === of) this.places.invite(model);
  }

  /** Throws RouteRefusal where there is none. */
  private next(going: Going): ModelCandidate {
    const choice = this.choose(going);
    if (choice.kind === "chosen") return choice.candidates[0] as ModelCandidate;
    throw going.failures.length === 0 ? refusalOf(choice.refusal) : lost(going.asked, going.failures);
  }

  /** Throws RouteRefusal where nobody has a model of that name. */
  private choose(going: Going): ModelChoice {
    const { id, request, needs, chain, session, passed, contextAbove, failures } = going;
    const { clock, aliases, objection } = this.parts;
    const { models } = this;
    const { rates, prompts, breakers, sessions, room } = this.knowledge;
    const meant = request.on === undefined ? models : models.filter(({ node }) => node === request.on);
    const named = resolveModel(request.body["model"], meant, aliases());
    if (named.kind === "refused") {
      // The last one that had it went away with it.
      if (failures.length > 0) throw lost(going.asked, failures);
      const status = named.reason === "unknown_model" ? 404 : 400;
      throw new RouteRefusal(status, named.reason === "unknown_model" ? "model_not_found" : "bad_request", named.detail);
    }
    const isLeft = (model: LentModel): boolean => !passed.has(placeKey(model)) && (model.contextTokens ?? Infinity) > contextAbove;
    const now = clock.monotonic();
    return chooseModel({
      groups: named.groups.map((group) => ({ ...group, models: group.models.filter(isLeft) })),
      needs,
      rates,
      lastPlace: session === undefined ? undefined : sessions.last(session, now),
      requestHash: nameHash(id),
      view: {
        load: (model) => this.places.load(model, tripMs(model, request), room.displacesMs(model, models, rates, now), id),
        hit: (model) => prompts.hit(model, chain, now),
        breakerMs: (model) => breakers.waitMs(model, now),
        // What a machine asks of its own models needs no leave.
        forbidden: ({ node }) => (node === request.own?.node ? undefined : objection?.(node, request.asker)),
        weight: () => 1,
      },
    });
  }

  private async tryAt(candidate: ModelCandidate, going: Going, signal: AbortSignal): Promise<RoutedAnswer> {
    const at = await this.wait(candidate, going, signal);
    const attempt = this.begin(at, going);
    try {
      const answer = await this.ask(at.model, going, attempt, signal);
      const { session, chain } = going;
      if (answer.status < 400) this.knowledge.answered(at.model, chain, session, this.parts.clock.monotonic());
      return { ...answer, node: at.model.node, model: at.model.id, attempts: going.asked };
    } catch (error) {
      attempt.failed(signal.aborted ? "given_up" : endingOf(error));
      if (error instanceof RouteRefusal && error.code === CONTEXT_CODE) going.contextAbove = at.model.contextTokens ?? 0;
      throw error;
    }
  }

  /** Until it has a slot: there, or where one became free sooner. */
  private async wait(candidate: ModelCandidate, going: Going, signal: AbortSignal): Promise<ModelCandidate> {
    const { id, request, waitLeftMs } = going;
    const { clock } = this.parts;
    const since = clock.monotonic();
    let at = candidate;
    const wouldMove = (to: PlaceKey): Move | undefined => {
      const better = this.better(going);
      if (better === undefined || placeKey(better.model) !== to) return undefined;
      at = better;
      return { model: better.model, workMs: workMs(better) };
    };
    const waiting = { id, user: request.asker.name ?? request.asker.token, lane: request.lane, workMs: workMs(candidate) };
    try {
      await this.places.enter({ model: candidate.model, request: waiting, wouldMove, waitMs: waitLeftMs }, signal);
      return at;
    } finally {
      going.passed.add(placeKey(at.model));
      going.waitLeftMs -= clock.monotonic() - since;
    }
  }

  private better(going: Going): ModelCandidate | undefined {
    try {
      const choice = this.choose(going);
      return choice.kind === "chosen" ? choice.candidates[0] : undefined;
    } catch {
      // Nobody has it any more; it will be told when its turn comes.
      return undefined;
    }
  }

  /** The node may have gone while it waited, and those before it may all have failed. */
  private begin({ model, prediction, hit }: ModelCandidate, { id, needs }: Going): Attempt {
    const { clock } = this.parts;
    const { knowledge, places } = this;
    const waitMs = knowledge.breakers.waitMs(model, clock.monotonic());
    if (waitMs > 0 || !this.lenders.has(model.node)) {
      places.leave(model, id);
      if (waitMs === 0) throw new ModelFault("unreachable", "the node is gone");
      throw new RouteRefusal(503, "node_lost", `${placeName(model)} failed again and again`, { retryAfterMs: waitMs });
    }
    const { inFlight, beside } = places.load(model, 0, 0);
    const work = { unreadTokens: needs.promptTokens * (1 - hit), readMs: prediction.terms.read, beside: inFlight - 1 + beside };
    return new Attempt({ id, model, work, knowledge, places, clock });
  }

  private async ask(model: LentModel, going: Going, attempt: Attempt, signal: AbortSignal): Promise<RoutedAnswer> {
    const { request, streams } = going;
    going.asked++;
    const attempts = going.asked;
    if (request.own?.node === model.node) return askItself(request.own, model, attempt, attempts);
    const question = { path: request.path, model: model.id, endpoint: model.endpoint, body: request.body };
    const lender = this.lenders.get(model.node) as Lender;
    const answer = await lender.ask(question, request.asker, signal);
    const heard = await hear(answer, {
      streams,
      errorEvent: (fault) =>
        lostEvent(`${model.node}, which was answering for ${model.id}, is gone or its server failed: ${fault.message}`),
      over: (over) => attempt.over(over),
    });
    if (streams && heard.status < 300) attempt.first();
    return { ...heard, attempts };
  }
}

/** R5. */
async function askItself(own: OwnPlace, { id, endpoint }: LentModel, attempt: Attempt, attempts: number): Promise<RoutedAnswer> {
  const run = await own.begin({ model: id, endpoint, attempts });
  if (run.isStream) attempt.first();
  void run.over.then((over) => attempt.over(over));
  return { status: 200, contentType: "", body: Readable.from([]), attempts, isOwn: true };
}

function begin(request: ModelRequest): Going {
  const path = PROMPTS[request.path];
  const parts = promptParts(path, request.body);
  return {
    ...{ id: randomId(), request, passed: new Set(), failures: [], asked: 0, contextAbove: 0, waitLeftMs: WAIT_MS_MAX },
    session: request.session === undefined ? undefined : sessionKey(request.asker, request.session),
    needs: needsOf(path, request.body, parts),
    chain: prefixChain(parts, hashed),
    streams: path !== "embeddings" && request.body["stream"] === true,
  };
}

const isSpent = ({ failures, passed, waitLeftMs }: Going): boolean =>
  failures.filter(isFault).length >= ATTEMPTS_MAX || passed.size >= PLACES_MAX || waitLeftMs <= 0;

const tripMs = (model: LentModel, { own }: ModelRequest): number => (own?.node === model.node ? 0 : ROUND_TRIP_MS);

/** From its turn to its end. */
const workMs = ({ prediction: { endMs, terms } }: ModelCandidate): number => endMs - terms.queue - terms.trip;

const hashed = (previous: string, block: string): string => createHash("sha1").update(previous).update(block).digest("base64url");

/** Two people's sessions of one name are two. */
const sessionKey = ({ token, name }: ModelAsker, session: string): string => JSON.stringify([name ?? token, session]);
