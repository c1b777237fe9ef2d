/** Act two: queued work gets a node, a reservation and a lease, in the commit of this very turn. */
import { lease } from "../core/settle.ts";
import { failpoint } from "../system/failpoint.ts";
import type { State } from "./state.ts";

/** Decisions of one turn, so that a great backlog does not hold up answers and heartbeats. */
const PLACED_PER_TURN_MAX = 2_048;

/** True when it stopped at its limit. */
export function placeQueued(state: State): boolean {
  const { ledger, registry, outgoing, epoch, clock, random } = state;
  if (ledger.scheduler.size === 0) return false;
  const now = clock.wall();
  const decisions = ledger.scheduler.place(now, random, PLACED_PER_TURN_MAX);
  for (const { key, placement } of decisions) {
    const task = ledger.get(key);
    if (task === undefined) throw new Error(`the scheduler placed t${key}, which the ledger does not know`);
    const entry = registry.get(placement.node);
    const leased = lease(task, placement, epoch, now, entry.boot);
    ledger.write(task, { task: leased });
    outgoing.offer(leased, entry);
  }
  if (decisions.length > 0) failpoint("place.applied");
  return decisions.length === PLACED_PER_TURN_MAX;
}
