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
import { Readable } from "node:stream";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { ModelPlan } from "@openclaw-cluster/contract/model-requests";
import type { LentModel } from "@openclaw-cluster/contract/models";
import { chooseModel, type ModelCandidate, type ModelChoice } from "../../core/models/choose.ts";
import { resolveModel, type Aliases } from "../../core/models/model-names.ts";
import { placeKey, placeName, type PlaceKey } from "../../core/models/place.ts";
import { PlaceKnowledge } from "../../core/models/place-knowledge.ts";
import { RequestBook } from "../../core/models/request-book.ts";
import type { RequestNotes } from "../../core/models/request-notes.ts";
import { placeWeight } from "../../core/models/place-weight.ts";
import { planOf, refusedPlan } from "../../core/models/request-views.ts";
import { whySentence } from "../../core/models/why-sentence.ts";
import { nameHash } from "../../core/scheduling/hash.ts";
import type { Clock } from "../../system/clock.ts";
import type { Log } from "../../system/log.ts";
import { Attempt } from "./attempt.ts";
import { lostEvent } from "./first-token.ts";
import { Going, isTooLong, userOf } from "./going.ts";
import { hear } from "./hearing.ts";
import type { Lender } from "../lines/lending.ts";
import {
  ModelFault,
  RouteRefusal,
  type ModelAsker,
  type ModelRequest,
  type ModelRouter,
  type ModelSight,
  type OwnGrant,
  type OwnPlace,
  type PlaceWork,
  type RoutedAnswer,
} from "../models.ts";
import { Places, type Move } from "./places.ts";
import { endingOf, lost, refusalOf } from "./route-refusals.ts";

/** Until it is measured: over a network at home, there and back. */
const ROUND_TRIP_MS = 2;

export interface RouterParts {
  readonly aliases: () => Aliases;
  /** Why a node is not to be asked for that one, completing "<model> …"; undefined: it may be. The node itself decides again. */
  readonly objection?: (node: NodeId, asker: ModelAsker) => string | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

export class Router implements ModelRouter, ModelSight {
  readonly book = new RequestBook();
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

  loads(): readonly PlaceWork[] {
    return this.places.loads();
  }

  plan(request: Omit<ModelRequest, "lane">): ModelPlan {
    try {
      return planOf(this.choose(new Going({ ...request, lane: "interactive" })));
    } catch (error) {
      if (error instanceof RouteRefusal) return refusedPlan(error.code, error.message);
      throw error;
    }
  }

  close(): void {
    for (const lender of this.lenders.values()) lender.close();
  }

  async answer(request: ModelRequest, signal: AbortSignal): Promise<RoutedAnswer> {
    const { clock } = this.parts;
    const going = new Going(request);
    const notes = this.note(going);
    try {
      return await this.route(going, notes, signal);
    } catch (error) {
      const now = clock.monotonic();
      if (signal.aborted) notes.over("given_up", undefined, now);
      if (!(error instanceof RouteRefusal)) throw error;
      notes.refused(error.code, error.message, now);
      throw error.of(going.id);
    }
  }

  private note({ id, request, needs, streams }: Going): RequestNotes {
    const { path, body, asker, lane, on } = request;
    const { promptTokens, outputTokens } = needs;
    const { clock } = this.parts;
    const asked = { id, at: clock.wall(), user: userOf(asker), lane, path, name: body["model"], promptTokens, outputTokens, streams };
    return this.book.open({ ...asked, ...(on !== undefined && { on }) }, clock.monotonic());
  }

  private async route(going: Going, notes: RequestNotes, signal: AbortSignal): Promise<RoutedAnswer> {
    const { clock, log } = this.parts;
    for (;;) {
      signal.throwIfAborted();
      if (going.isSpent) throw lost(going.asked, going.failures);
      const candidate = this.next(going, notes);
      try {
        return await this.tryAt(candidate, going, notes, signal);
      } catch (error) {
        if (signal.aborted) throw error;
        going.failed(error as Error);
        notes.failed(endingOf(error), (error as Error).message, clock.monotonic());
        log.info({ err: error, node: candidate.model.node, model: candidate.model.id }, "a node did not answer for a model");
      }
    }
  }

  private get models(): readonly LentModel[] {
    return [...this.lenders].flatMap(([node, { models }]) => models.map((model) => ({ ...model, node })));
  }

  /** What is new may be better for those that wait. */
  private sawModels(of: NodeId): void {
    const { models } = this;
    this.knowledge.saw(models);
    for (const model of models) if (model.node === of) this.places.invite(model);
  }

  /** Throws RouteRefusal where there is none. */
  private next(going: Going, notes: RequestNotes): ModelCandidate {
    const choice = this.choose(going);
    notes.chose(choice);
    if (choice.kind === "refused") throw going.failures.length === 0 ? refusalOf(choice.refusal) : lost(going.asked, going.failures);
    return first(choice, going);
  }

  /** Throws RouteRefusal where nobody has a model of that name. */
  private choose(going: Going): ModelChoice {
    const { id, request, needs, chain, session, failures } = going;
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
    const now = clock.monotonic();
    return chooseModel({
      groups: named.groups.map((group) => ({ ...group, models: group.models.filter((model) => going.isLeft(model)) })),
      needs,
      rates,
      lastPlace: session === undefined ? undefined : sessions.last(session, now),
      requestHash: nameHash(id),
      view: {
        load: (model) => this.places.load(model, this.tripMs(model, request), room.displacesMs(model, models, rates, now), id),
        hit: (model) => prompts.hit(model, chain, now),
        breakerMs: (model) => breakers.waitMs(model, now, userOf(request.asker)),
        // What a machine asks of its own models needs no leave.
        forbidden: ({ node }) => (node === request.own?.node ? undefined : objection?.(node, request.asker)),
        weight: placeWeight,
      },
    });
  }

  /** There and back. Nothing where it is the asking node's own. */
  private tripMs({ node }: LentModel, { own }: ModelRequest): number {
    return own?.node === node ? 0 : (this.lenders.get(node)?.roundTripMs ?? ROUND_TRIP_MS);
  }

  private async tryAt(candidate: ModelCandidate, going: Going, notes: RequestNotes, signal: AbortSignal): Promise<RoutedAnswer> {
    const at = await this.wait(candidate, going, notes, signal);
    const attempt = this.begin(at, going, notes);
    const { model } = at;
    try {
      going.asked++;
      const { id, why, asked: attempts, session, chain } = going;
      const told = { id, attempts, ...(why !== undefined && { why }) };
      const answer = await this.ask(model, going, attempt, told, signal);
      if (answer.status < 400) this.knowledge.answered(model, chain, session, this.parts.clock.monotonic());
      return { ...answer, ...told, node: model.node, model: model.id };
    } catch (error) {
      attempt.failed(signal.aborted ? "given_up" : endingOf(error));
      if (isTooLong(error)) going.tooLongFor(model);
      throw error;
    }
  }

  /** Until it has a slot: there, or where one became free sooner. */
  private async wait(candidate: ModelCandidate, going: Going, notes: RequestNotes, signal: AbortSignal): Promise<ModelCandidate> {
    const { id, request, waitLeftMs } = going;
    const { clock } = this.parts;
    const since = clock.monotonic();
    let at = candidate;
    const wouldMove = (to: PlaceKey): Move | undefined => {
      const better = this.better(going);
      if (better === undefined || placeKey(better.candidates[0]?.model as LentModel) !== to) return undefined;
      at = first(better, going);
      notes.waits(at.model, clock.monotonic());
      return { model: at.model, workMs: workMs(at) };
    };
    const waiting = { id, user: userOf(request.asker), lane: request.lane, workMs: workMs(candidate) };
    notes.waits(candidate.model, since);
    try {
      await this.places.enter({ model: candidate.model, request: waiting, wouldMove, waitMs: waitLeftMs }, signal);
      return at;
    } finally {
      going.pass(at.model);
      going.waitLeftMs -= clock.monotonic() - since;
    }
  }

  private better(going: Going): Chosen | undefined {
    try {
      const choice = this.choose(going);
      return choice.kind === "chosen" ? choice : undefined;
    } catch {
      // Nobody has it any more; it will be told when its turn comes.
      return undefined;
    }
  }

  /** The node may have gone while it waited, and those before it may all have failed. */
  private begin({ model, prediction, hit }: ModelCandidate, { id, needs, request }: Going, notes: RequestNotes): Attempt {
    const { clock } = this.parts;
    const { knowledge, places } = this;
    const user = userOf(request.asker);
    const waitMs = knowledge.breakers.waitMs(model, clock.monotonic(), user);
    if (waitMs > 0 || !this.lenders.has(model.node)) {
      places.leave(model, id);
      if (waitMs === 0) throw new ModelFault("unreachable", "the node is gone");
      throw new RouteRefusal(503, "node_lost", `${placeName(model)} failed again and again`, { retryAfterMs: waitMs });
    }
    const { inFlight, beside } = places.load(model, 0, 0);
    const work = { unreadTokens: needs.promptTokens * (1 - hit), readMs: prediction.terms.read, beside: inFlight - 1 + beside };
    return new Attempt({ id, user, model, work, knowledge, places, notes, clock });
  }

  private async ask(model: LentModel, going: Going, attempt: Attempt, told: Told, signal: AbortSignal): Promise<Answer> {
    const { request, streams } = going;
    const { id, endpoint, node } = model;
    if (request.own?.node === node) return askItself(request.own, { model: id, endpoint, ...told }, attempt);
    const lender = this.lenders.get(node) as Lender;
    const answer = await lender.ask({ path: request.path, model: id, endpoint, body: request.body }, request.asker, signal);
    const heard = await hear(answer, {
      streams,
      errorEvent: (fault) => lostEvent(`${node}, which was answering for ${id}, is gone or its server failed: ${fault.message}`),
      over: (over) => attempt.over(over),
    });
    if (streams && heard.status < 300) attempt.first();
    return heard;
  }
}

type Chosen = Extract<ModelChoice, { kind: "chosen" }>;
type Told = Pick<RoutedAnswer, "attempts" | "id" | "why">;
type Answer = Pick<RoutedAnswer, "status" | "contentType" | "body" | "isOwn">;

/** Where it goes, and why. */
function first({ candidates }: Chosen, going: Going): ModelCandidate {
  const [candidate, ...others] = candidates as [ModelCandidate, ...ModelCandidate[]];
  going.why = whySentence(candidate, others);
  return candidate;
}

/** R5. */
async function askItself(own: OwnPlace, grant: OwnGrant, attempt: Attempt): Promise<Answer> {
  const run = await own.begin(grant);
  if (run.isStream) attempt.first();
  void run.over.then((over) => attempt.over(over));
  return { status: 200, contentType: "", body: Readable.from([]), isOwn: true };
}

/** From its turn to its end. */
const workMs = ({ prediction: { endMs, terms } }: ModelCandidate): number => endMs - terms.queue - terms.trip;
