/**
 * What loading a model costs the others: an endpoint that has no room for both puts another one away, and whoever asks for
 * that next waits for its load. Without this a router thrashes: each request alone is answered soonest on the quickest
 * machine, and there every model pushes out the one before it.
 *
 * O1. An endpoint is known to hold as much as was seen loaded there at once. What goes beyond that is feared to displace.
 * O2. Only what was used lately is missed, and what is in use least; the one not used for longest is put away first.
 */
import type { LentModel } from "@openclaw-cluster/contract/models";
import { SIZE_BYTES_DEFAULT } from "./auto-groups.ts";
import type { ModelRates } from "./model-rates.ts";
import { placeKey, type PlaceKey } from "./place.ts";

/** O2: after so long without a request it would have been put away by itself (Ollama: 5 minutes), or as well might be. */
const MISSED_MS = 900_000;
/**
 * Whoever comes back waits for the load, and so do those behind. Tried with 1 to 5 in the made-up home of scripts/bench/models.ts, on
 * 18 traces: below 3 there were clearly more loads; with 4 (and 15 minutes above, for 5, 10 and 20) each trace had a third of round
 * robin's or fewer, and most of them earlier first tokens than with 3; 5 was no better.
 */
const HARM_FACTOR = 4;
/** Places and endpoints remembered; those silent for longest go first. */
const REMEMBERED_MAX = 4_096;

export class EndpointRoom {
  private readonly roomBytes = new Map<string, number>();
  private readonly usedAt = new Map<PlaceKey, number>();

  /** All that nodes lend at the moment. */
  saw(models: readonly LentModel[]): void {
    const loaded = new Map<string, number>();
    for (const model of models) {
      if (model.state !== "loaded") continue;
      const key = endpointKey(model);
      loaded.set(key, (loaded.get(key) ?? 0) + bytesOf(model));
    }
    for (const [key, bytes] of loaded) keep(this.roomBytes, key, Math.max(bytes, this.roomBytes.get(key) ?? 0));
  }

  /** A request is sent there, or has ended there. */
  used(model: LentModel, now: number): void {
    keep(this.usedAt, placeKey(model), now);
  }

  /** What others will have to wait for if the model is loaded there now. `models`: as for `saw`. */
  displacesMs(model: LentModel, models: readonly LentModel[], rates: ModelRates, now: number): number {
    if (model.state !== "cold") return 0;
    const key = endpointKey(model);
    const beside = models.filter((one) => one.state !== "cold" && endpointKey(one) === key);
    const oldestFirst = beside.toSorted((a, b) => this.lastUse(a) - this.lastUse(b));
    let over = beside.reduce((sum, one) => sum + bytesOf(one), bytesOf(model)) - (this.roomBytes.get(key) ?? 0);
    let ms = 0;
    for (const one of oldestFirst) {
      if (over <= 0) break;
      over -= bytesOf(one);
      ms += rates.loadMs(one) * Math.max(0, 1 - (now - this.lastUse(one)) / MISSED_MS);
    }
    return ms * HARM_FACTOR;
  }

  private lastUse(model: LentModel): number {
    return this.usedAt.get(placeKey(model)) ?? -Infinity;
  }
}

const endpointKey = ({ node, endpoint }: LentModel): string => JSON.stringify([node, endpoint]);
const bytesOf = ({ sizeBytes = SIZE_BYTES_DEFAULT }: LentModel): number => sizeBytes;

function keep(map: Map<string, number>, key: string, value: number): void {
  map.delete(key);
  map.set(key, value);
  if (map.size > REMEMBERED_MAX) map.delete(map.keys().next().value as string);
}
