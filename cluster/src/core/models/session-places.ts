/**
 * Where a conversation was answered last: its place has most of the prompt in its cache, whatever the router remembers.
 *
 * S1. Bounded in number and time: a session that is silent for long is a new one.
 */
import { placeKey, type Place, type PlaceKey } from "./place.ts";

/** At about 200 bytes each. */
const SESSIONS_MAX = 10_000;
/** Servers put an unused model away after 5 minutes (Ollama) to an hour (LM Studio). */
const KEPT_MS = 3_600_000;

export class SessionPlaces {
  /** Those that spoke last are at the end. */
  private readonly places = new Map<string, { readonly place: PlaceKey; readonly until: number }>();

  remember(session: string, place: Place, now: number): void {
    this.places.delete(session);
    this.places.set(session, { place: placeKey(place), until: now + KEPT_MS });
    if (this.places.size > SESSIONS_MAX) this.places.delete(this.places.keys().next().value as string);
  }

  last(session: string, now: number): PlaceKey | undefined {
    const found = this.places.get(session);
    return found !== undefined && found.until > now ? found.place : undefined;
  }
}
