/** The lines before the places where models can be asked: each request waits here for its turn, and what is at work there is known. */
import { slotsOf, placeKey, type Place, type PlaceKey } from "../core/models/place.ts";
import { ModelQueue, type Waiting } from "../core/models/model-queue.ts";
import type { PlaceLoad } from "../core/models/predict.ts";
import type { LentModel } from "@openclaw-cluster/contract/models";
import type { Clock } from "../system/clock.ts";
import { RouteRefusal } from "./models.ts";

interface Line {
  readonly place: Place;
  readonly queue: ModelQueue;
  readonly turns: Map<string, () => void>;
}

export class Places {
  private readonly lines = new Map<PlaceKey, Line>();
  private readonly clock: Clock;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** Resolves when it is this one's turn; it has the slot until `leave`. Rejects with RouteRefusal overloaded, and with the signal's reason. */
  async enter(model: LentModel, request: Waiting, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const line = this.lineOf(model);
    line.queue.slots = slotsOf(model);
    const answer = line.queue.enqueue(request, this.clock.monotonic());
    if (answer.kind === "refused")
      throw new RouteRefusal(429, "overloaded", `${model.id} on ${model.node} has too many requests that wait.`, {
        retryAfterMs: answer.retryAfterMs,
      });
    const turn = Promise.withResolvers<void>();
    line.turns.set(request.id, turn.resolve);
    const leave = (): void => {
      this.leave(model, request.id);
      turn.reject(signal.reason);
    };
    signal.addEventListener("abort", leave, { once: true });
    this.serve(line);
    try {
      await turn.promise;
    } finally {
      signal.removeEventListener("abort", leave);
    }
  }

  leave(place: Place, id: string): void {
    const key = placeKey(place);
    const line = this.lines.get(key);
    if (line === undefined) return;
    line.queue.remove(id);
    line.turns.delete(id);
    this.serve(line);
    if (line.queue.queued + line.queue.inFlight === 0) this.lines.delete(key);
  }

  /** `displacesMs`: what others wait for where it is loaded now (endpoint-room.ts). */
  load(model: LentModel, roundTripMs: number, displacesMs: number): PlaceLoad {
    const now = this.clock.monotonic();
    const own = this.lines.get(placeKey(model))?.queue;
    let beside = 0;
    let besideMs = 0;
    for (const { place, queue } of this.lines.values()) {
      if (queue === own || place.node !== model.node || place.endpoint !== model.endpoint) continue;
      beside += queue.inFlight;
      besideMs += queue.inFlightMs(now);
    }
    return {
      ...{ roundTripMs, beside, besideMs, displacesMs },
      ...{ inFlight: own?.inFlight ?? 0, inFlightMs: own?.inFlightMs(now) ?? 0 },
      ...{ queued: own?.queued ?? 0, queuedMs: own?.queuedMs ?? 0 },
    };
  }

  private lineOf(place: Place): Line {
    const key = placeKey(place);
    const known = this.lines.get(key) ?? { place, queue: new ModelQueue(1), turns: new Map() };
    this.lines.set(key, known);
    return known;
  }

  private serve({ queue, turns }: Line): void {
    for (let next = queue.take(this.clock.monotonic()); next !== undefined; next = queue.take(this.clock.monotonic())) {
      turns.get(next.id)?.();
      turns.delete(next.id);
    }
  }
}
