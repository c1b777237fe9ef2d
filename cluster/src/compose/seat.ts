/** A control node's lead, or its readiness to lead, over one store: the door that both kinds of store have (lone-seat.ts, shared-seat.ts). */
import type { Trust } from "@openclaw-cluster/contract/client/certificate";
import type { Enrolled } from "@openclaw-cluster/contract/operations";
import type { Subscription } from "../bus/bus.ts";
import type { MovableStore } from "../store/movable-store.ts";
import type { Claim } from "../store/store.ts";

export interface Seat {
  /** Lets this machine's own node in, by whoever leads. */
  enrolOwn(publicKey: string): Promise<Enrolled>;
  /** Where this machine's own node finds the bus: told at once where it is known, and at each change. */
  onBusUrls(listener: (urls: readonly string[]) => void): Subscription;
  /** Where the APIs of all control nodes are, this one's first. */
  controlUrls(): readonly string[];
  /** The store that this machine leads over now; undefined where another leads. */
  readonly led: { readonly store: MovableStore; readonly claim: Claim } | undefined;
  /** Why its store cannot become this machine's own. */
  refusalToLeave(): string | undefined;
  /** Leads no more, in good order, and does not try to again; what it led over stays open. */
  leave(): Promise<void>;
  /** After `leave`: over the same store, which may be claimed again. */
  again(): Promise<Seat>;
  /** After `leave`: closes what is its own. The API and nats-server stay. */
  letGo(): Promise<void>;
  /** Instead of both: in good order, the API with it. */
  close(): Promise<void>;
}

/** What this machine's own worker needs of it. */
export interface LeadRole {
  readonly apiUrl: string;
  /** Whom this machine's own node knows nats-server by. */
  readonly trust: Trust;
  enrolOwn(publicKey: string): Promise<Enrolled>;
  controlUrls(): readonly string[];
  busUrlsChange(listener: (urls: readonly string[]) => void): Subscription;
}
