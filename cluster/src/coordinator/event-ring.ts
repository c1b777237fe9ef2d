/**
 * The newest events, as many as fit: a ring by number, bounded in bytes as well, because a result may ride in an event.
 *
 * G1. `oldest` ≤ n < `next` are there; what is older is gone for everyone.
 */
import type { ClusterEvent } from "@openclaw-cluster/contract/events";
import { LIMITS } from "@openclaw-cluster/contract/limits";

/** An event's fields, roughly, without its result. */
const EVENT_BYTES = 256;

export class EventRing {
  oldest: number;
  next: number;
  private readonly events = Array.from<ClusterEvent | undefined>({ length: LIMITS.eventsKept });
  private readonly sizes = new Uint32Array(LIMITS.eventsKept);
  private bytes = 0;

  /** `first`: the number of the first event to come. */
  constructor(first: number) {
    this.oldest = this.next = first;
  }

  /** `extra`: bytes of what rides in it. Its number must be `next`. */
  add(event: ClusterEvent, extra: number): void {
    const bytes = EVENT_BYTES + extra;
    this.bytes += bytes;
    while (this.next - this.oldest >= LIMITS.eventsKept || (this.bytes > LIMITS.eventBytesKept && this.oldest < this.next)) this.drop();
    const at = this.next % LIMITS.eventsKept;
    this.events[at] = event;
    this.sizes[at] = bytes;
    this.next++;
  }

  /** The events from number `from` on. */
  since(from: number): ClusterEvent[] {
    const events: ClusterEvent[] = [];
    for (let n = Math.max(from, this.oldest); n < this.next; n++) events.push(this.events[n % LIMITS.eventsKept] as ClusterEvent);
    return events;
  }

  private drop(): void {
    const at = this.oldest % LIMITS.eventsKept;
    this.bytes -= this.sizes[at] as number;
    this.events[at] = undefined;
    this.oldest++;
  }
}
