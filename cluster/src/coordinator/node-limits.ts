/** How often each node may ask for something that costs the coordinator a commit; its key alone must not fill the disk. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Clock } from "../system/clock.ts";

const MINUTE_MS = 60_000;

export class NodeLimits {
  private readonly clock: Clock;
  private readonly max: number;
  /** When, by the monotonic clock, within the last minute. */
  private readonly asked = new Map<NodeId, number[]>();

  constructor(clock: Clock, max: number) {
    this.clock = clock;
    this.max = max;
  }

  /** Counts it, or throws overloaded. */
  admit(id: NodeId): void {
    const now = this.clock.monotonic();
    for (const [node, times] of this.asked) if ((times.at(-1) ?? -Infinity) <= now - MINUTE_MS) this.asked.delete(node);
    const times = (this.asked.get(id) ?? []).filter((at) => at > now - MINUTE_MS);
    const [first] = times;
    if (first !== undefined && times.length >= this.max)
      throw new ClusterError("overloaded", `${id} asks too often.`, { retryAfterMs: first + MINUTE_MS - now });
    this.asked.set(id, [...times, now]);
  }
}
