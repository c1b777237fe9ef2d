/**
 * How much the coordinator listens to one node. nats-server lets a node say what it likes under its own subjects, as fast as its line
 * is, and each message costs the coordinator a proof, a parser, a schema and a place in a turn; so one that was taken over could
 * keep it from all others.
 *
 * R1. A message is weighed before anything in it is looked at. Beyond the ration it is not heard, which its sender is told by no
 *     answer: a report comes again after some seconds, a heartbeat with the next one.
 * R2. What turned out to be news of work (Message.wasNews) weighs nothing. So work sets its own pace, however fast that is, and no honest
 *     node meets the ration with it; what weighs is said over and over, is out of date, or was never true.
 * R3. Each node has its own.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { Bucket } from "../system/bucket.ts";
import type { Clock } from "../system/clock.ts";

export const RATION = {
  /**
   * What an honest node says beside news of work: a heartbeat in two seconds, 0.25 MiB with all that it can hold, and progress five times
   * a second, 0.1 MiB of 64 attempts, 2 MiB of a thousand. So much said in vain, as heartbeats that name 15,000 attempts, was measured
   * to take a tenth of a processor each second until it is judged; as small messages a hundredth.
   */
  bytesPerSecond: 4 * 1024 * 1024,
  /** At once: more than ten times what is under way of a node before it waits for answers (outbox.ts, line.ts). */
  bytesMax: 32 * 1024 * 1024,
  /** What a message of any size costs besides: five hundred empty ones a second are heard. */
  messageBytes: 8 * 1024,
  /** Nodes remembered. Only those have one that nats-server knows. */
  nodesMax: 10_000,
} as const;

const SIZE = { max: RATION.bytesMax, perSecond: RATION.bytesPerSecond };

export class Rations {
  private readonly clock: Pick<Clock, "monotonic">;
  private readonly byNode = new Map<NodeId, Bucket>();

  constructor(clock: Pick<Clock, "monotonic">) {
    this.clock = clock;
  }

  /** False: it is not to be heard (R1). */
  take(node: NodeId, bytes: number): boolean {
    const now = this.clock.monotonic();
    return (this.byNode.get(node) ?? this.begin(node, now)).take(bytes + RATION.messageBytes, now);
  }

  /** R2. */
  giveBack(node: NodeId, bytes: number): void {
    this.byNode.get(node)?.giveBack(bytes + RATION.messageBytes);
  }

  private begin(node: NodeId, now: number): Bucket {
    if (this.byNode.size >= RATION.nodesMax) {
      const [oldest] = this.byNode.keys();
      if (oldest !== undefined) this.byNode.delete(oldest);
    }
    const bucket = new Bucket(SIZE, now);
    this.byNode.set(node, bucket);
    return bucket;
  }
}
