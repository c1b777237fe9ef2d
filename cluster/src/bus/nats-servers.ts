/**
 * Which of several nats-servers a connection goes to. They are one cluster, so each is as good as the other; what counts is that
 * nobody waits for a dead one while another would answer.
 *
 * V1. The one that was just lost is tried last: its machine may be gone, and then a try ends by its time-out only. So may another's, at
 *     the same time; those that have just taken a call come first (`Knocking`).
 * V2. Whoever has a home goes back to it, when it has answered HOME_LOOKS times in a row. So a server that is started again
 *     and again does not drag its coordinator along.
 */
import type { Server } from "@nats-io/nats-core";
import { takesCall } from "../system/takes-call.ts";
import type { Subscription } from "./bus.ts";

const HOME_LOOK_MS = 1_000;
/** A server that has just started needs a second for its routes; before that, nobody is heard there but who hangs on it. */
const HOME_LOOKS = 3;

export class ServerChoice {
  #last: string | undefined;
  #aim: string | undefined;
  readonly #tried = new Set<string>();
  /** The first to answer is the first here. */
  readonly #answered = new Set<string>();

  /** The next try goes there. */
  aim(url: string): void {
    this.#aim = placeOf(url);
  }

  /** There is a connection to this one. Told then and not at its end: the client library asks for another one before it says that. */
  arrived(place: string): void {
    this.#tried.clear();
    this.#answered.clear();
    this.#last = place;
  }

  /** It has just taken a call. */
  answers(place: string): void {
    this.#answered.add(place);
  }

  /** Each once, before one comes again. It must not throw: the client library would close the connection for good. */
  readonly pick = (pool: readonly Server[]): Server | null => {
    const aim = this.#aim;
    this.#aim = undefined;
    if (pool.every(({ listen }) => this.#tried.has(listen))) this.#tried.clear();
    const untried = pool.filter(({ listen }) => !this.#tried.has(listen));
    const others = untried.filter(({ listen }) => listen !== this.#last);
    const ready = [...this.#answered].map((place) => others.find(({ listen }) => listen === place)).find((one) => one !== undefined);
    const picked = pool.find(({ listen }) => listen === aim) ?? ready ?? others[0] ?? untried[0] ?? null;
    if (picked !== null) this.#tried.add(picked.listen);
    return picked;
  };
}

/** `host:port`, as the client library calls a server. */
export const placeOf = (url: string): string => new URL(url).host;

/** Longer than the way there and back on a poor line; after it the connection is given up anyway. */
const KNOCK_MS = 3_000;

/**
 * Which servers take a call at the moment: asked while the one that it is connected to does not answer, so that it is known by the time
 * that one is given up. Nothing is said there.
 */
export class Knocking {
  #isUnderWay = false;

  async knock(places: readonly string[], answers: (place: string) => void): Promise<void> {
    if (this.#isUnderWay) return;
    this.#isUnderWay = true;
    await Promise.all(places.map(async (place) => (await takesCall(`nats://${place}`, KNOCK_MS)) && answers(place)));
    this.#isUnderWay = false;
  }
}

/** V2. `away`: it is connected, and not to its home. `answers`: its home lets it in and answers; that it takes a call is not enough, so does one that hangs. */
export function watchHome(parts: { away(): boolean; answers(): Promise<boolean>; goHome(): Promise<unknown> }): Subscription {
  let answers = 0;
  let looking = false;
  const look = async (): Promise<void> => {
    if (!parts.away()) {
      answers = 0;
      return;
    }
    answers = (await parts.answers()) ? answers + 1 : 0;
    if (answers < HOME_LOOKS || !parts.away()) return;
    answers = 0;
    await parts.goHome();
  };
  const timer = setInterval(() => {
    if (looking) return;
    looking = true;
    void look().finally(() => (looking = false));
  }, HOME_LOOK_MS);
  timer.unref();
  return { stop: () => clearInterval(timer) };
}
