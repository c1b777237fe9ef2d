/**
 * The lines before the places where models can be asked: each request waits in one for its turn, and what is at work there is known.
 *
 * P1. Who waits goes over to another place that has become free, where that one is better for it by then: the oldest first, people
 *     before batches.
 * P2. Nobody waits for longer than it says.
 */
import type { LentModel } from "@openclaw-cluster/contract/models";
import { slotsOf, placeKey, type Place, type PlaceKey } from "../../core/models/place.ts";
import { ModelQueue, type Waiting } from "../../core/models/model-queue.ts";
import type { PlaceLoad } from "../../core/models/predict.ts";
import type { Clock } from "../../system/clock.ts";
import { RouteRefusal, type PlaceWork } from "../models.ts";

/** P2: whoever waited in vain has seen how busy it is. */
const WAIT_AGAIN_MS = 30_000;
/** P1: each is a choice among all places; who waits behind so many others will hardly be the one. */
const ASKED_TO_MOVE_MAX = 16;

interface Line {
  readonly place: Place;
  readonly queue: ModelQueue;
}

/** One that waits. */
interface Waiter {
  request: Waiting;
  model: LentModel;
  /** P1. What it would be there, if it had rather be there. */
  wouldMove(to: PlaceKey): Move | undefined;
  turn(): void;
}

export interface Move {
  readonly model: LentModel;
  readonly workMs: number;
}

export interface Entering {
  readonly model: LentModel;
  readonly request: Waiting;
  readonly wouldMove?: Waiter["wouldMove"];
  /** P2. */
  readonly waitMs: number;
}

export class Places {
  private readonly lines = new Map<PlaceKey, Line>();
  /** In the order in which they came. */
  private readonly waiters = new Map<string, Waiter>();
  private readonly clock: Clock;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /**
   * Resolves when it is this one's turn, there or where it has moved to (P1); it has the slot until `leave`. Rejects with RouteRefusal
   * overloaded, and with the signal's reason.
   */
  async enter({ model, request, wouldMove = () => undefined, waitMs }: Entering, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const line = this.lineOf(model);
    const answer = line.queue.enqueue(request, this.clock.monotonic());
    if (answer.kind === "refused")
      throw new RouteRefusal(429, "overloaded", `${model.id} on ${model.node} has too many requests that wait.`, {
        retryAfterMs: answer.retryAfterMs,
      });
    const turn = Promise.withResolvers<void>();
    const waiter: Waiter = { request, model, wouldMove, turn: turn.resolve };
    this.waiters.set(request.id, waiter);
    const giveUp = (reason: unknown): void => {
      this.leave(waiter.model, request.id);
      turn.reject(reason);
    };
    const leave = (): void => giveUp(signal.reason);
    signal.addEventListener("abort", leave, { once: true });
    const timer = this.clock.after(waitMs, () => giveUp(waitedTooLong(waiter.model, waitMs)));
    this.serve(line);
    try {
      await turn.promise;
    } finally {
      timer.cancel();
      signal.removeEventListener("abort", leave);
    }
  }

  leave(place: Place, id: string): void {
    const line = this.lines.get(placeKey(place));
    if (line === undefined) return;
    line.queue.remove(id);
    this.waiters.delete(id);
    this.serve(line);
    this.invite(line.place);
    this.tidy(line);
  }

  /** P1: room was made at the place, or it is new. */
  invite(place: Place): void {
    if (this.waiters.size === 0) return;
    const key = placeKey(place);
    const hasRoom = (): boolean => {
      const queue = this.lines.get(key)?.queue;
      return queue === undefined || (queue.queued === 0 && queue.inFlight < queue.slots);
    };
    for (const waiter of this.oldestElsewhere(key)) {
      if (!hasRoom()) return;
      const move = waiter.wouldMove(key);
      if (move !== undefined) this.move(waiter, move);
    }
  }

  private oldestElsewhere(key: PlaceKey): Waiter[] {
    const all = [...this.waiters.values()].filter(({ model }) => placeKey(model) !== key);
    const people = all.filter(({ request }) => request.lane === "interactive").slice(0, ASKED_TO_MOVE_MAX);
    return people.length > 0 ? people : all.slice(0, ASKED_TO_MOVE_MAX);
  }

  private move(waiter: Waiter, { model, workMs }: Move): void {
    const from = this.lines.get(placeKey(waiter.model));
    const to = this.lineOf(model);
    const request = { ...waiter.request, workMs };
    if (to.queue.enqueue(request, this.clock.monotonic()).kind === "refused") return;
    from?.queue.remove(request.id);
    Object.assign(waiter, { request, model });
    this.serve(to);
    if (from !== undefined) this.tidy(from);
  }

  /** `displacesMs`: what others wait for where it is loaded now (endpoint-room.ts). `self`: one that waits there sees only who is before it. */
  load(model: LentModel, roundTripMs: number, displacesMs: number, self?: string): PlaceLoad {
    const now = this.clock.monotonic();
    const own = this.lines.get(placeKey(model))?.queue;
    let beside = 0;
    let besideMs = 0;
    for (const { place, queue } of this.lines.values()) {
      if (queue === own || place.node !== model.node || place.endpoint !== model.endpoint) continue;
      beside += queue.inFlight;
      besideMs += queue.inFlightMs(now);
    }
    const ahead = own?.ahead(self) ?? { count: 0, workMs: 0 };
    return {
      ...{ roundTripMs, beside, besideMs, displacesMs },
      ...{ inFlight: own?.inFlight ?? 0, inFlightMs: own?.inFlightMs(now) ?? 0 },
      ...{ queued: ahead.count, queuedMs: ahead.workMs },
    };
  }

  /** Of each place where somebody is at work or waits. */
  loads(): PlaceWork[] {
    return [...this.lines.values()].map(({ place, queue: { queued, inFlight } }) => ({ place, queued, inFlight }));
  }

  private lineOf(model: LentModel): Line {
    const key = placeKey(model);
    const { node, endpoint, id } = model;
    const line = this.lines.get(key) ?? { place: { node, endpoint, id }, queue: new ModelQueue(1) };
    line.queue.slots = slotsOf(model);
    this.lines.set(key, line);
    return line;
  }

  private serve({ queue }: Line): void {
    for (let next = queue.take(this.clock.monotonic()); next !== undefined; next = queue.take(this.clock.monotonic())) {
      this.waiters.get(next.id)?.turn();
      this.waiters.delete(next.id);
    }
  }

  private tidy({ place, queue }: Line): void {
    if (queue.queued + queue.inFlight === 0) this.lines.delete(placeKey(place));
  }
}

function waitedTooLong({ id, node }: LentModel, waitedMs: number): RouteRefusal {
  const message = `It waited for ${id} on ${node} for ${Math.round(waitedMs / 1_000)} s, and its turn did not come.`;
  return new RouteRefusal(429, "overloaded", message, { retryAfterMs: WAIT_AGAIN_MS });
}
