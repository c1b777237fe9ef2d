/**
 * One try of a request at one place, from its turn to its end: what the place's line, its breaker, its rates and the book are told.
 *
 * A1. It ends once, however; until then it has its place's slot.
 */
import type { LentModel } from "@openclaw-cluster/contract/models";
import type { Ending } from "../../core/models/breaker.ts";
import type { PlaceKnowledge, Work } from "../../core/models/place-knowledge.ts";
import type { RequestNotes } from "../../core/models/request-notes.ts";
import type { Clock } from "../../system/clock.ts";
import type { Over } from "../models.ts";
import type { Places } from "./places.ts";
import { endingOf } from "./route-refusals.ts";

export interface AttemptParts {
  /** Of the request. */
  readonly id: string;
  /** Who asks. */
  readonly user: string;
  readonly model: LentModel;
  readonly work: Work;
  readonly knowledge: PlaceKnowledge;
  readonly places: Places;
  readonly notes: RequestNotes;
  readonly clock: Clock;
}

export class Attempt {
  private readonly parts: AttemptParts;
  private readonly begunAt: number;
  private firstAt: number | undefined;
  private isOver = false;

  constructor(parts: AttemptParts) {
    this.parts = parts;
    this.begunAt = parts.clock.monotonic();
    parts.knowledge.breakers.begin(parts.model, this.begunAt, parts.user);
    parts.notes.turn(parts.model, this.begunAt);
  }

  /** Of a stream. */
  first(): void {
    const { knowledge, model, work, notes, clock } = this.parts;
    this.firstAt = clock.monotonic();
    notes.firstToken(this.firstAt);
    knowledge.firstToken(model, work, this.firstAt - this.begunAt);
  }

  over(over: Over): void {
    if (this.isOver) return;
    const { knowledge, model, work, notes, clock } = this.parts;
    const now = clock.monotonic();
    if (over.how === "cut") notes.over("cut", undefined, now);
    else notes.over(over.how === "left" ? "given_up" : over.how, over.tokens || undefined, now);
    if (over.how === "answered" && this.firstAt !== undefined) knowledge.wrote(model, work, over.tokens, now - this.firstAt);
    else if (over.how === "answered") knowledge.toldWhole(model, work, over.tokens, now - this.begunAt);
    // Whoever left may have been reading slowly; the server had answered.
    this.end(over.how === "cut" ? endingOf(over.fault) : over.how === "wrong" ? "wrong" : "answered");
  }

  /** Before its first token. */
  failed(ending: Ending): void {
    if (!this.isOver) this.end(ending);
  }

  private end(ending: Ending): void {
    this.isOver = true;
    const { places, knowledge, model, id, user, clock } = this.parts;
    knowledge.breakers.end(model, ending, clock.monotonic(), user);
    places.leave(model, id);
  }
}
