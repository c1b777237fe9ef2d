/**
 * The line before one place. Requests wait here and not in the model server, where they could be neither put in order nor
 * taken back nor moved. Fair shares by start-time fair queueing, as in scheduling/fairness.ts: each user has a virtual time
 * that grows by the estimated work that was begun for it; the lowest comes next.
 *
 * Q1. Never more at work than there are slots, never more waiting than the length allows, never more of one user than a
 *     part of that: a user who floods the line does not keep others out of it.
 * Q2. Interactive requests come before batches, but for one turn in BATCH_EVERY: a batch is slow, never starved.
 * Q3. While two users wait in a lane, the work begun for them differs by no more than the largest of their requests each.
 * Q4. Of one user's requests in a lane, the first to come is the first to go.
 */

export type Lane = "interactive" | "batch";

export interface Waiting {
  /** Unique among all that wait or are at work here. */
  readonly id: string;
  readonly user: string;
  readonly lane: Lane;
  /** Estimated, from its start to its end. */
  readonly workMs: number;
}

export type Enqueued =
  /** Counted from 1; before it so many are to be begun, as far as can be said. */
  | { readonly kind: "queued"; readonly position: number }
  | { readonly kind: "refused"; readonly reason: "overloaded"; readonly retryAfterMs: number };

/** Who waits behind 64 others for a model at home has given up long ago. */
export const QUEUE_LENGTH_MAX = 64;
/** Q1: of the length, for one user. */
const USER_SHARE_MAX = 0.5;
/** Q2. */
export const BATCH_EVERY = 8;
/** Sooner it would be refused again; later nobody comes back. */
const RETRY_AFTER_MS_MIN = 1_000;
const RETRY_AFTER_MS_MAX = 120_000;
/** A request of no work would give its user every turn. */
const WORK_MS_MIN = 1;

/** Users remembered in a lane. Beyond it those are dropped for whom nothing waits, and with them what they had in advance. */
const USERS_MAX = 1_000;

/** One lane's fairness. */
interface Fair {
  now: number;
  readonly times: Map<string, number>;
}

export class ModelQueue {
  private readonly lengthMax: number;
  private readonly waiting: Waiting[] = [];
  private readonly working = new Map<string, { readonly workMs: number; readonly since: number }>();
  private readonly lanes: Readonly<Record<Lane, Fair>> = {
    interactive: { now: 0, times: new Map() },
    batch: { now: 0, times: new Map() },
  };
  private interactiveInRow = 0;
  slots: number;

  constructor(slots: number, lengthMax = QUEUE_LENGTH_MAX) {
    this.slots = slots;
    this.lengthMax = lengthMax;
  }

  enqueue(request: Waiting, now: number): Enqueued {
    let ofUser = 0;
    for (const { user } of this.waiting) if (user === request.user) ofUser++;
    if (this.waiting.length >= this.lengthMax || ofUser >= Math.ceil(this.lengthMax * USER_SHARE_MAX))
      return { kind: "refused", reason: "overloaded", retryAfterMs: this.retryAfterMs(now) };
    this.waiting.push(request);
    return { kind: "queued", position: this.position(request.id) ?? this.waiting.length };
  }

  /** The next to be begun, if a slot is free; it is at work from now on. */
  take(now: number): Waiting | undefined {
    if (this.working.size >= this.slots) return undefined;
    const request = this.nextOf(this.waiting, this.lanes, this.interactiveInRow);
    if (request === undefined) return undefined;
    this.waiting.splice(this.waiting.indexOf(request), 1);
    this.interactiveInRow = serve(this.lanes, this.interactiveInRow, request);
    this.working.set(request.id, { workMs: request.workMs, since: now });
    this.tidy();
    return request;
  }

  /** It ended, well or not, or was given up, wherever it was. false: it was not here. */
  remove(id: string): boolean {
    const at = this.waiting.findIndex((request) => request.id === id);
    if (at >= 0) this.waiting.splice(at, 1);
    const removed = this.working.delete(id) || at >= 0;
    this.tidy();
    return removed;
  }

  /** Counted from 1, if nobody else comes; undefined: it does not wait. */
  position(id: string): number | undefined {
    const waiting = [...this.waiting];
    const lanes = { interactive: copyOf(this.lanes.interactive), batch: copyOf(this.lanes.batch) };
    let inRow = this.interactiveInRow;
    for (let position = 1; ; position++) {
      const next = this.nextOf(waiting, lanes, inRow);
      if (next === undefined) return undefined;
      if (next.id === id) return position;
      waiting.splice(waiting.indexOf(next), 1);
      inRow = serve(lanes, inRow, next);
    }
  }

  get queued(): number {
    return this.waiting.length;
  }

  get inFlight(): number {
    return this.working.size;
  }

  /** Those that came before that one; before none that waits, it is all of them. */
  ahead(id?: string): { readonly count: number; readonly workMs: number } {
    const at = id === undefined ? -1 : this.waiting.findIndex((request) => request.id === id);
    const before = at < 0 ? this.waiting : this.waiting.slice(0, at);
    return { count: before.length, workMs: before.reduce((sum, { workMs }) => sum + workMs, 0) };
  }

  /** What is at work beyond its estimate is taken to end at any moment. */
  inFlightMs(now: number): number {
    let sum = 0;
    for (const { workMs, since } of this.working.values()) sum += Math.max(0, workMs - (now - since));
    return sum;
  }

  private retryAfterMs(now: number): number {
    const ms = (this.inFlightMs(now) + this.ahead().workMs) / Math.max(1, this.slots) / Math.max(1, this.waiting.length);
    return Math.round(Math.max(RETRY_AFTER_MS_MIN, Math.min(RETRY_AFTER_MS_MAX, ms)));
  }

  private nextOf(waiting: readonly Waiting[], lanes: Readonly<Record<Lane, Fair>>, interactiveInRow: number): Waiting | undefined {
    const interactive = firstOf(waiting, "interactive", lanes.interactive);
    if (interactive !== undefined && interactiveInRow < BATCH_EVERY - 1) return interactive;
    return firstOf(waiting, "batch", lanes.batch) ?? interactive;
  }

  /** Once nobody waits or works there is nobody to be fair to, and all begin anew. */
  private tidy(): void {
    for (const lane of ["interactive", "batch"] as const) {
      const { times } = this.lanes[lane];
      if (this.waiting.length + this.working.size === 0) times.clear();
      if (times.size <= USERS_MAX) continue;
      const here = new Set(this.waiting.filter((request) => request.lane === lane).map(({ user }) => user));
      for (const user of times.keys()) if (!here.has(user)) times.delete(user);
    }
  }
}

/** Of equal users the one that came first. */
function firstOf(waiting: readonly Waiting[], lane: Lane, { now, times }: Fair): Waiting | undefined {
  let first: Waiting | undefined;
  let earliest = Infinity;
  for (const request of waiting) {
    if (request.lane !== lane) continue;
    const start = Math.max(now, times.get(request.user) ?? 0);
    if (start < earliest) {
      first = request;
      earliest = start;
    }
  }
  return first;
}

/** Returns how many interactive ones were begun in a row, this one included. */
function serve(lanes: Readonly<Record<Lane, Fair>>, interactiveInRow: number, { lane, user, workMs }: Waiting): number {
  const fair = lanes[lane];
  fair.now = Math.max(fair.now, fair.times.get(user) ?? 0);
  fair.times.set(user, fair.now + Math.max(WORK_MS_MIN, workMs));
  return lane === "batch" ? 0 : interactiveInRow + 1;
}

const copyOf = ({ now, times }: Fair): Fair => ({ now, times: new Map(times) });
