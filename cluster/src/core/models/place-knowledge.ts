/**
 * All that a router has learned of places, and what it makes of each answer.
 *
 * K1. What came out of an answer teaches the place that gave it and no other, and an answer that was left or cut teaches no speed.
 */
import type { LentModel } from "@openclaw-cluster/contract/models";
import { Breakers } from "./breaker.ts";
import { EndpointRoom } from "./endpoint-room.ts";
import { ModelRates } from "./model-rates.ts";
import { PrefixMemory, type PrefixChain } from "./prefix-chain.ts";
import { SessionPlaces } from "./session-places.ts";

/** A model server puts an unused model away after that long at the earliest (Ollama). */
const CACHED_MS = 300_000;

/** What was asked of a place, as far as it tells something of the answer's time. */
export interface Work {
  /** Of the prompt, not cached there. */
  readonly unreadTokens: number;
  /** As it was predicted. */
  readonly readMs: number;
  /** Others at the endpoint, as it began. */
  readonly beside: number;
}

export class PlaceKnowledge {
  readonly rates = new ModelRates();
  readonly breakers = new Breakers();
  readonly prompts = new PrefixMemory();
  readonly sessions = new SessionPlaces();
  readonly room = new EndpointRoom();

  /** All that nodes lend at the moment. What was put away has forgotten its prompts. */
  saw(models: readonly LentModel[]): void {
    this.room.saw(models);
    for (const model of models) if (model.state === "cold") this.prompts.forget(model);
  }

  /** It has begun to answer: the prompt was read there. */
  answered(model: LentModel, chain: PrefixChain, session: string | undefined, now: number): void {
    if (session !== undefined) this.sessions.remember(session, model, now);
    this.room.used(model, now);
    this.prompts.remember(model, chain, now + CACHED_MS);
  }

  /** `ms`: from when it was asked. */
  firstToken(model: LentModel, { unreadTokens, readMs, beside }: Work, ms: number): void {
    if (model.state === "cold") this.rates.learnLoad(model, ms - readMs);
    else if (model.state === "loaded") this.rates.learnRead(model, unreadTokens, ms, beside);
  }

  /** `ms`: from its first token. */
  wrote(model: LentModel, { beside }: Work, tokens: number, ms: number): void {
    this.rates.learnWrite(model, tokens, ms, beside);
  }

  /** An answer that came in one piece. Reading and writing are not told apart in it, so the guess of one is taken off. */
  toldWhole(model: LentModel, { unreadTokens, readMs, beside }: Work, tokens: number, ms: number): void {
    if (model.state !== "loaded") return;
    if (tokens === 0) this.rates.learnRead(model, unreadTokens, ms, beside);
    else this.rates.learnWrite(model, tokens, ms - readMs, beside);
  }
}
