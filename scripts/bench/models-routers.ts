/** Four ways to give requests to machines: the cluster's, and three that know nothing of models. */
import type { LentModel } from "@openclaw-cluster/contract/models";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { chooseModel, type PlaceView } from "../../cluster/src/core/models/choose.ts";
import { EndpointRoom } from "../../cluster/src/core/models/endpoint-room.ts";
import { resolveModel } from "../../cluster/src/core/models/model-names.ts";
import type { ModelNeeds } from "../../cluster/src/core/models/model-needs.ts";
import { ModelQueue } from "../../cluster/src/core/models/model-queue.ts";
import { ModelRates } from "../../cluster/src/core/models/model-rates.ts";
import { placeKey } from "../../cluster/src/core/models/place.ts";
import { PrefixMemory, type PrefixChain } from "../../cluster/src/core/models/prefix-chain.ts";
import { SessionPlaces } from "../../cluster/src/core/models/session-places.ts";
import { nameHash } from "../../cluster/src/core/scheduling/hash.ts";
import { MODELS } from "./model-trace.ts";
import type { Machine, Request } from "./models-machine.ts";

export interface Router {
  arrive(request: Request, now: number): void;
  firstToken(request: Request, now: number): void;
  ended(request: Request, now: number): void;
  /** Every REPORT_MS: what nodes tell of their models. */
  report?(): void;
}

/** What is known of a machine's models is so old at most. */
export const REPORT_MS = 2_000;
/** As prefixes are kept, at longest. */
const PREFIX_MS = 300_000;
/** A slot's context of 16,384 tokens, in blocks. */
const SLOT_BLOCKS = 128;

/** Sends at once, to the machine that `pick` names among those that have the model. */
export function plainRouter(
  machines: readonly Machine[],
  pick: (having: readonly Machine[], active: (machine: Machine) => number, request: Request) => Machine,
): Router {
  const sent = new Map<string, Machine>();
  return {
    arrive(request, now) {
      const having = machines.filter(({ spec }) => spec.models.includes(request.model));
      const machine = pick(having, (one) => [...sent.values()].filter((other) => other === one).length, request);
      sent.set(request.id, machine);
      machine.ask(request, now);
    },
    firstToken() {},
    ended({ id }) {
      sent.delete(id);
    },
  };
}

interface Way {
  readonly model: LentModel;
  readonly sentMs: number;
  readonly loadGuessMs: number;
  readonly beside: number;
  readonly uncachedTokens: number;
  firstMs: number;
}

/** The cluster's, from its parts, as a front would use them. */
export class ClusterRouter implements Router {
  private readonly machines: readonly Machine[];
  private readonly rates = new ModelRates();
  private readonly prefixes = new PrefixMemory();
  private readonly room = new EndpointRoom();
  private readonly sessions = new SessionPlaces();
  private readonly queues = new Map<string, ModelQueue>();
  private readonly requests = new Map<string, { request: Request; model: LentModel; workMs: number; hit: number; loadMs: number }>();
  private readonly ways = new Map<string, Way>();
  private models: readonly LentModel[] = [];

  constructor(machines: readonly Machine[]) {
    this.machines = machines;
    this.report();
  }

  report(): void {
    this.models = this.machines.flatMap((machine) => machine.spec.models.map((id) => offer(machine, id)));
    this.room.saw(this.models);
    for (const model of this.models) if (model.state === "cold" && this.queueOf(model).inFlight === 0) this.prefixes.forget(model);
  }

  arrive(request: Request, now: number): void {
    const named = resolveModel(request.model, this.models, {});
    if (named.kind === "refused") throw new Error(named.detail);
    const choice = chooseModel({
      groups: named.groups,
      needs: needs(request),
      view: this.view(request, now),
      rates: this.rates,
      lastPlace: this.sessions.last(request.conversation, now),
      requestHash: nameHash(request.id),
    });
    const best = choice.kind === "chosen" ? choice.candidates[0] : undefined;
    if (best === undefined) throw new Error("nobody");
    const { trip, queue, load } = best.prediction.terms;
    const workMs = best.prediction.endMs - trip - queue;
    const { id, user, conversation } = request;
    this.requests.set(id, { request, model: best.model, workMs, hit: best.hit, loadMs: load });
    this.sessions.remember(conversation, best.model, now);
    const enqueued = this.queueOf(best.model).enqueue({ id, user, lane: "interactive", workMs }, now);
    if (enqueued.kind === "refused") throw new Error("the line is full");
    this.pump(best.model, now);
  }

  firstToken(request: Request, now: number): void {
    const way = this.ways.get(request.id) as Way;
    way.firstMs = now;
    const ms = now - way.sentMs;
    if (way.loadGuessMs === 0) this.rates.learnRead(way.model, way.uncachedTokens, ms, way.beside);
    else this.rates.learnLoad(way.model, ms - way.uncachedTokens * this.rates.readMs(way.model));
    this.prefixes.remember(way.model, chain(request), now + PREFIX_MS, SLOT_BLOCKS * (way.model.slots?.total ?? 1));
  }

  ended(request: Request, now: number): void {
    const { model, firstMs, beside } = this.ways.get(request.id) as Way;
    this.rates.learnWrite(model, request.answerTokens, now - firstMs, (beside + this.besideAt(model)) / 2);
    this.room.used(model, now);
    this.ways.delete(request.id);
    this.requests.delete(request.id);
    this.queueOf(model).remove(request.id);
    this.pump(model, now);
  }

  private pump(model: LentModel, now: number): void {
    const queue = this.queueOf(model);
    for (let next = queue.take(now); next !== undefined; next = queue.take(now)) {
      const { request, hit, loadMs } = this.requests.get(next.id) as { request: Request; hit: number; loadMs: number };
      this.room.used(model, now);
      const uncachedTokens = request.promptTokens * (1 - hit);
      this.ways.set(next.id, { model, sentMs: now, loadGuessMs: loadMs, beside: this.besideAt(model), uncachedTokens, firstMs: now });
      (this.machines.find(({ spec }) => spec.node === model.node) as Machine).ask(request, now);
    }
  }

  /** All that are at work on its endpoint, but for one. */
  private besideAt({ node }: LentModel): number {
    let sum = 0;
    for (const way of this.ways.values()) if (way.model.node === node) sum++;
    return Math.max(0, sum - 1);
  }

  private view(request: Request, now: number): PlaceView {
    return {
      load: (model) => {
        const own = this.queueOf(model);
        let beside = 0;
        let besideMs = 0;
        for (const other of this.models) {
          if (other.node !== model.node || other.id === model.id) continue;
          const queue = this.queueOf(other);
          beside += queue.inFlight;
          besideMs += queue.inFlightMs(now) + queue.ahead().workMs;
        }
        const { inFlight, queued } = own;
        const roundTripMs = this.machines.find(({ spec }) => spec.node === model.node)?.spec.roundTripMs ?? 0;
        return {
          roundTripMs,
          inFlight,
          inFlightMs: own.inFlightMs(now),
          queued,
          queuedMs: own.ahead().workMs,
          beside,
          besideMs,
          displacesMs: this.room.displacesMs(model, this.models, this.rates, now),
        };
      },
      hit: (model) => this.prefixes.hit(model, chain(request), now),
      breakerMs: () => 0,
      forbidden: () => undefined,
      weight: () => 1,
    };
  }

  private queueOf(model: LentModel): ModelQueue {
    const key = placeKey(model);
    let queue = this.queues.get(key);
    if (queue === undefined) this.queues.set(key, (queue = new ModelQueue(model.slots?.total ?? 1)));
    return queue;
  }
}

const chain = ({ hashes }: Request): PrefixChain => ({ hashes, blocks: hashes.length + 1 });

function needs({ promptTokens }: Request): ModelNeeds {
  return { path: "chat", promptTokens, outputTokens: 1_024, contextTokens: promptTokens, tools: false, vision: false, json: false };
}

function offer(machine: Machine, id: string): LentModel {
  return {
    node: machine.spec.node as NodeId,
    id,
    endpoint: "ollama",
    server: "ollama",
    sizeBytes: MODELS.find((model) => model.id === id)?.bytes ?? 0,
    quantization: "Q4_K_M",
    can: { chat: true, tools: true, vision: false, json: true, embeddings: false },
    state: machine.stateOf(id),
    slots: { total: machine.spec.slots, busy: machine.busy(id) },
  };
}
