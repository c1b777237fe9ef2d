/**
 * What nodes hear of a coordinator that has lost its lead and does not know to whom, most likely because there is no quorum: what they
 * run may go on without anybody for PAUSE_MS.
 *
 * L1. Whoever leads next may be far from those nodes and know nothing of this. So it gives nothing away of nodes that it has not heard,
 *     for as long from its own beginning (Lead.start), but of those of the machine that led before: these are not told.
 * L2. The time counts from when the lead was surely held last. A process that was stopped in between says only what is left of it.
 * L3. It is said again while leases last, for nodes that find their way to another server meanwhile.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { leaseMs, PAUSE_MS } from "../core/liveness.ts";
import { pause } from "../system/pause.ts";
import type { LeadParts } from "./lead-parts.ts";

const AGAIN_MS = 250;

export interface LastWord extends Pick<LeadParts, "self" | "clock"> {
  readonly nodes: readonly NodeId[];
  /** By the monotonic clock. */
  readonly sureUntil: number;
  readonly signal: AbortSignal;
}

export async function sayLastWord(
  { self, clock, nodes, sureUntil, signal }: LastWord,
  say: (id: NodeId, ms: number) => void,
): Promise<void> {
  const others = nodes.filter((id) => id !== self);
  const endsAt = sureUntil + PAUSE_MS;
  const saidUntil = Math.min(endsAt, clock.monotonic() + leaseMs({}));
  while (others.length > 0 && !signal.aborted && clock.monotonic() < saidUntil) {
    for (const id of others) say(id, Math.round(endsAt - clock.monotonic()));
    await pause(clock, AGAIN_MS, signal);
  }
}
