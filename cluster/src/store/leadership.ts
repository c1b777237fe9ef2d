/**
 * Who leads, where several coordinators share a store. The door beside store.ts: that one says who may still write, this one who
 * may begin to.
 *
 * L1. Whoever leads has claimed the store under an epoch that nobody had before, in the same step in which it took the lead. What
 *     an earlier one still commits is refused there (S2 in store.ts), however late it notices.
 * L2. It notices before the next one can begin, by its own monotonic clock: `over` aborts when its lease was not renewed in time.
 *     Where that clock stood still, as in a sleep, L1 alone holds.
 * L3. A term that is resigned is over at once for everybody, one whose holder is dead or hangs after TERM_S.
 */
import type { Claim, Store } from "./store.ts";

/** What others are told of the one that leads. */
export interface Leader {
  readonly node: string;
  /** Where its API is, likeliest first; at most LEADER_URLS_MAX. */
  readonly urls: readonly string[];
  /** It gives nothing away by which a control node that stands by may have told a node to go on (etcd-standby-words.ts). */
  readonly heedsWords?: true;
}

export interface Term {
  readonly claim: Claim;
  /** Who led before, where that is known; it may be this one. */
  readonly former?: Leader;
  /** Aborts when this coordinator leads no more, or cannot be sure any longer. */
  readonly over: AbortSignal;
  /** By the monotonic clock: until then nobody else can have led. Grows while it lasts. */
  sureUntil(): number;
  /** In good order: to be called when everything is committed. */
  resign(): Promise<void>;
}

/** `S`: the stores that it can have claimed. */
export interface Leadership<S extends Store = Store> {
  /** Stands by until nobody leads, claims the store, and leads. Rejects with the signal's reason, and with what the store cannot get over. */
  campaign(self: Leader, store: S, signal: AbortSignal): Promise<Term>;
  /** As far as is known here. */
  readonly leader: Leader | undefined;
  onLeader(listener: (leader: Leader | undefined) => void): { stop(): void };
  close(): Promise<void>;
}

export const LEADER_URLS_MAX = 8;
/**
 * A crash is noticed after this at the latest, and half of it more where etcd's own leader died with it. Shorter, and a laptop's
 * disk that stands still for a while costs the lead; etcd itself grants no less than 2 s.
 */
export const TERM_S = 4;
