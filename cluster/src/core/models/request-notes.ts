/**
 * What the router notes of one request for a model, from its coming to its end.
 *
 * N1. Nothing in here grows without a limit: lists are those of the contract, and so are texts.
 * N2. What is told after the end changes nothing.
 * N3. Candidates are those of the first choice: the choices after a failure are of the same places, one fewer each time.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import {
  MODEL_REQUESTS,
  type ModelAttempt,
  type ModelEnding,
  type ModelRefusalView,
  type ModelRequestId,
  type ModelRequestRecord,
  type ModelRequestState,
} from "@openclaw-cluster/contract/model-requests";
import type { Ending } from "./breaker.ts";
import type { ModelChoice } from "./choose.ts";
import type { ModelFigures } from "./model-figures.ts";
import type { Lane } from "./model-queue.ts";
import { placeKey, type Place } from "./place.ts";
import { cut, judgedView, placeView, refusalView, tenths, type Judged } from "./request-views.ts";

/** A request as it has come. */
export interface AskedFor {
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly user: string;
  readonly lane: Lane;
  readonly path: string;
  /** The `model` of its body, whatever that is. */
  readonly name: unknown;
  readonly on?: NodeId;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly streams: boolean;
}

/** What the router tells while it carries a request out. `now`: monotonic milliseconds. */
export interface RequestNotes {
  /** Once for each choice. One that found nobody is told too, for those it passed over. */
  chose(choice: ModelChoice): void;
  /** It stands in that place's line. Told again when it moves to another one's. */
  waits(place: Place, now: number): void;
  /** It has its turn there, and is being asked. */
  turn(place: Place, now: number): void;
  /** Of a stream; an answer that comes as one piece has none. */
  firstToken(now: number): void;
  /** That place did not do it; another one may. */
  failed(ending: Ending, message: string, now: number): void;
  /** The request's end, at the place that was asked last. */
  over(how: "answered" | "wrong" | "cut" | "given_up", tokens: number | undefined, now: number): void;
  /** The request's end: nobody answered. */
  refused(code: string, message: string, now: number): void;
}

/** Fewer tokens tell no speed (model-rates.ts). */
const SPEED_TOKENS_MIN = 8;
const STATES = { answered: "answered", wrong: "failed", cut: "failed", given_up: "given_up" } as const;
const PATH_CHARS_MAX = 64;

type Step =
  /** Place: in its line. */
  | { readonly kind: "waiting"; readonly since: number; readonly place?: Place }
  | { readonly kind: "asked"; readonly since: number; readonly place: Place }
  | { readonly kind: "answering"; readonly since: number; readonly place: Place }
  | { readonly kind: "over"; readonly state: ModelRequestState };

/** An attempt while more is learned of it. */
type Draft = { -readonly [K in keyof ModelAttempt]: ModelAttempt[K] };

export class NotedRequest implements RequestNotes {
  private readonly asked: AskedFor;
  private readonly openedAt: number;
  private readonly figures: ModelFigures;
  private readonly onEnd: () => void;
  private readonly attempts: Draft[] = [];
  private step: Step;
  private judged: Judged | undefined;
  private refusal: ModelRefusalView | undefined;
  private endedAt: number | undefined;
  private waitedMs = 0;

  constructor(asked: AskedFor, now: number, figures: ModelFigures, onEnd: () => void) {
    this.asked = { ...asked, name: typeof asked.name === "string" ? cut(asked.name, MODEL_REQUESTS.nameCharsMax) : "" };
    this.openedAt = now;
    this.figures = figures;
    this.onEnd = onEnd;
    this.step = { kind: "waiting", since: now };
  }

  chose(choice: ModelChoice): void {
    this.judged ??= judgedView(choice);
  }

  waits(place: Place, now: number): void {
    const { step } = this;
    if (step.kind === "over") return;
    const isMoved = step.kind === "waiting" && step.place !== undefined;
    // It takes along what it has waited.
    this.step = { kind: "waiting", since: isMoved ? step.since : now, place };
    if (isMoved) this.attempts.pop();
    this.attempt(place);
  }

  turn(place: Place, now: number): void {
    const { step } = this;
    if (step.kind === "over") return;
    if (step.kind !== "waiting" || step.place === undefined || placeKey(step.place) !== placeKey(place)) this.waits(place, now);
    this.leaveLine(now);
    this.step = { kind: "asked", since: now, place };
  }

  firstToken(now: number): void {
    const { step } = this;
    if (step.kind !== "asked") return;
    this.last.firstTokenMs = tenths(now - step.since);
    this.figures.firstToken(step.place, now - step.since);
    this.step = { kind: "answering", since: now, place: step.place };
  }

  failed(ending: Ending, message: string, now: number): void {
    const { step } = this;
    if (step.kind === "over" || step.place === undefined) return;
    this.endAttempt(ending, now);
    this.last.error = cut(message, MODEL_REQUESTS.messageCharsMax);
    this.step = { kind: "waiting", since: now };
  }

  over(how: "answered" | "wrong" | "cut" | "given_up", tokens: number | undefined, now: number): void {
    const { step } = this;
    if (step.kind === "over") return;
    if (step.place !== undefined) this.endAttempt(how, now);
    if (tokens !== undefined && (step.kind === "asked" || step.kind === "answering")) {
      const ms = step.kind === "answering" && how === "answered" && tokens >= SPEED_TOKENS_MIN ? now - step.since : 0;
      const perS = ms > 0 ? (tokens / ms) * 1_000 : undefined;
      this.last.tokens = tokens;
      if (perS !== undefined) this.last.tokensPerS = tenths(perS);
      this.figures.wrote(step.place, tokens, perS);
    }
    this.end(STATES[how], now);
  }

  refused(code: string, message: string, now: number): void {
    const { step } = this;
    if (step.kind === "over") return;
    if (step.place !== undefined) this.endAttempt("given_up", now);
    this.refusal = refusalView(code, message);
    this.end("failed", now);
  }

  /** As it stands now. */
  record(): ModelRequestRecord {
    const { id, at, user, lane, path, name, on, promptTokens, outputTokens, streams } = this.asked;
    const { kind } = this.step;
    return {
      ...{ id: id as ModelRequestId, at, user: cut(user, MODEL_REQUESTS.userCharsMax), lane, path: cut(path, PATH_CHARS_MAX) },
      ...{ name: name as string, promptTokens, outputTokens, streams, waitedMs: tenths(this.waitedMs) },
      ...(on !== undefined && { on }),
      state: kind === "over" ? this.step.state : kind,
      ...(this.judged ?? { candidates: [], passedOver: [] }),
      attempts: this.attempts.map((attempt) => ({ ...attempt })),
      ...(this.refusal !== undefined && { refusal: this.refusal }),
      ...(this.endedAt !== undefined && { endedAt: this.endedAt }),
    };
  }

  private get last(): Draft {
    return this.attempts.at(-1) as Draft;
  }

  private attempt(place: Place): void {
    // The last one is what people ask for.
    if (this.attempts.length === MODEL_REQUESTS.attemptsMax) this.attempts.pop();
    this.attempts.push({ ...placeView(place), waitedMs: 0 });
  }

  private leaveLine(now: number): void {
    if (this.step.kind !== "waiting" || this.step.place === undefined) return;
    this.last.waitedMs = tenths(now - this.step.since);
    this.waitedMs += this.last.waitedMs;
  }

  private endAttempt(ending: ModelEnding, now: number): void {
    this.leaveLine(now);
    this.last.ending = ending;
    // Who never had a turn tells nothing of the place.
    if (this.step.kind === "asked" || this.step.kind === "answering") this.figures.ended(this.step.place, ending);
  }

  private end(state: ModelRequestState, now: number): void {
    this.step = { kind: "over", state };
    this.endedAt = this.asked.at + Math.round(now - this.openedAt);
    this.onEnd();
  }
}
