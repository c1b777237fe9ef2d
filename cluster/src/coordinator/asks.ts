/** What a node asks with its key alone, so many times a minute: that key must not fill the coordinator's disk, or take its time. */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { MinuteLimit } from "../system/minute-limit.ts";

/** Throws overloaded. To be asked once the node has proved itself: nobody else may use up what is its own. */
export function admit(limit: MinuteLimit, id: NodeId): void {
  if (limit.take(id) !== undefined) return;
  throw new ClusterError("overloaded", `${id} asks too often.`, { retryAfterMs: limit.waitMs(id) });
}
