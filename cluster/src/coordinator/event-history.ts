/**
 * The newest events, for listeners that come back or are a little late. Bounded in number and in bytes, because a result
 * may ride in an event.
 *
 * G1. Ids have no holes: `oldest` … `next` − 1 are there, what is older is gone for everyone.
 * G2. The newest commit is kept whole, however large: whoever listens gets to see it.
 */
import type { ClusterEvent } from "@openclaw-cluster/contract/events";
import { LIMITS } from "@openclaw-cluster/contract/limits";

/** Of one commit; the first has the id `first`. */
interface Batch {
  readonly first: number;
  readonly events: readonly ClusterEvent[];
  readonly bytes: number;
}

export class EventHistory {
  next: number;
  private readonly batches: Batch[] = [];
  private count = 0;
  private bytes = 0;

  /** `first`: the id of the first event to come. */
  constructor(first: number) {
    this.next = first;
  }

  get oldest(): number {
    return this.batches[0]?.first ?? this.next;
  }

  /** Events of one commit, with ids from `next` on; `bytes`: roughly what they take. */
  add(events: readonly ClusterEvent[], bytes: number): void {
    this.batches.push({ first: this.next, events, bytes });
    this.next += events.length;
    this.count += events.length;
    this.bytes += bytes;
    while (this.batches.length > 1 && (this.count > LIMITS.eventsKept || this.bytes > LIMITS.eventBytesKept)) {
      const gone = this.batches.shift() as Batch;
      this.count -= gone.events.length;
      this.bytes -= gone.bytes;
    }
  }

  /** Those with the id `from` or a greater one. */
  since(from: number): readonly ClusterEvent[] {
    let at = this.batches.length;
    while (at > 0 && (this.batches[at - 1] as Batch).first >= from) at--;
    const partly = this.batches[at - 1];
    const rest = partly?.events.slice(from - partly.first) ?? [];
    const whole = this.batches.slice(at);
    return rest.length === 0 && whole.length === 1 ? (whole[0] as Batch).events : rest.concat(...whole.map(({ events }) => events));
  }
}
