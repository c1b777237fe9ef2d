/**
 * When a place would give its first token, and its last one: the sum of what stands in the way. Estimates; they need only be
 * right enough to put places in order, and each is a term that is told to whoever asks why.
 *
 * T1. More work ahead, a longer prompt or less of it in the cache never makes a prediction earlier.
 */
import type { LentModel } from "@openclaw-cluster/contract/models";
import type { ModelNeeds } from "./model-needs.ts";
import { crowding, type ModelRates } from "./model-rates.ts";
import { slotsOf } from "./place.ts";

/** What the router knows of a place at the moment. Its own requests, and those of other programs as the server tells. */
export interface PlaceLoad {
  readonly roundTripMs: number;
  /** Ours that are there; their estimated remaining time, summed. */
  readonly inFlight: number;
  readonly inFlightMs: number;
  /** Ours that wait for a slot there; their estimated time, summed. */
  readonly queued: number;
  readonly queuedMs: number;
  /** Ours at other models of the same endpoint: they share the machine. Their remaining time, summed. */
  readonly beside: number;
  readonly besideMs: number;
  /** What others lose if the model is loaded there now (endpoint-room.ts). */
  readonly displacesMs: number;
}

export interface Prediction {
  readonly firstTokenMs: number;
  readonly endMs: number;
  /** Of writing, beside what is there: for whom only wants a quick model. */
  readonly tokensPerS: number;
  readonly terms: PredictionTerms;
}

/** Milliseconds. */
export interface PredictionTerms {
  readonly trip: number;
  readonly queue: number;
  readonly load: number;
  readonly read: number;
  readonly write: number;
  /** No wait of this request, but one that it causes: part of the cost only. */
  readonly displace: number;
}

/** Few answers are longer, whatever limit they were given; longer ones are longer everywhere. */
const WRITTEN_TOKENS_EXPECTED = 400;
/** Of another program's request, of which only its being there is known. */
const STRANGER_MS = 5_000;
/** A model that loads is on average half-way. */
const LOADING_SHARE = 0.5;

export function predict(model: LentModel, needs: ModelNeeds, load: PlaceLoad, hit: number, rates: ModelRates): Prediction {
  const company = companyOf(model, load);
  const trip = load.roundTripMs;
  const queue = queueMs(model, load);
  const loading = loadMs(model, load, rates);
  const read = needs.promptTokens * (1 - hit) * rates.readMs(model) * crowding(model.server, company);
  const written = Math.min(needs.outputTokens, WRITTEN_TOKENS_EXPECTED);
  const writeMs = rates.writeMs(model, company);
  const write = written * writeMs;
  const firstTokenMs = trip + queue + loading + read;
  return {
    firstTokenMs,
    endMs: firstTokenMs + write,
    tokensPerS: 1_000 / writeMs,
    terms: { trip, queue, load: loading, read, write, displace: load.displacesMs },
  };
}

/** Everything that goes on there or waits; what choose.ts compares as how busy a place is. */
export function activeAt(model: LentModel, load: PlaceLoad): number {
  return load.inFlight + load.queued + strangersAt(model, load);
}

/** The server counts ours too. */
function strangersAt({ slots }: LentModel, { inFlight }: PlaceLoad): number {
  return Math.max(0, (slots?.busy ?? 0) - inFlight);
}

/** Once a slot is free at most so many are at work on the endpoint besides. */
function companyOf(model: LentModel, load: PlaceLoad): number {
  return Math.min(activeAt(model, load), slotsOf(model) - 1) + load.beside;
}

function queueMs(model: LentModel, load: PlaceLoad): number {
  const slots = slotsOf(model);
  if (activeAt(model, load) < slots) return 0;
  return (load.inFlightMs + load.queuedMs + strangersAt(model, load) * STRANGER_MS) / slots;
}

/** A cold model may have to wait until another one that is at work can be put away: memory is not known here, so it is feared. */
function loadMs(model: LentModel, { besideMs, inFlight }: PlaceLoad, rates: ModelRates): number {
  switch (model.state) {
    case "loaded":
      return 0;
    case "loading":
      return rates.loadMs(model) * LOADING_SHARE;
    case "cold":
      // Sent there a moment ago: what is in flight loads it already.
      return inFlight > 0 ? rates.loadMs(model) * LOADING_SHARE : rates.loadMs(model) + besideMs;
  }
}
