/**
 * What nodes say of themselves, and what their silence says. A heartbeat names everything its node holds; comparing that
 * with the leases mends whatever the bus lost, doubled or delivered late.
 *
 * H1. An offer that a node does not hold is made again, as the same attempt.
 * H2. An attempt that a node holds without a lease is to be stopped there, says the answer.
 * H3. A node that restarted, or was silent for too long (core/liveness.ts), has lost its leases.
 * H4. What was offered and never reported may have started all the same, in a life of the node that ended before it
 *     could say so. Where a second run could do harm (G5), only the same life's own word counts.
 * H5. A message that was overtaken by a later one of its node proves nothing: what it does not name may have come since.
 * H6. A cancelled attempt that its node does not hold may be on its way there still: it is ordered once more to be stopped, and the
 *     node's answer ends it, after which nothing of it begins.
 */
import { taskId, taskKey } from "@openclaw-cluster/contract/ids";
import { isAway } from "@openclaw-cluster/contract/node";
import { PROTOCOL } from "@openclaw-cluster/contract/protocol";
import type { AttemptRef, Heartbeat, HeartbeatReply } from "@openclaw-cluster/contract/wire";
import { leaseMs, lostAfterMs } from "../core/liveness.ts";
import { holds, interrupt, isHarmless, lose } from "../core/settle.ts";
import type { TaskRecord } from "../core/task.ts";
import { labelsOf, toSchedulable, type NodeEntry } from "./registry.ts";
import type { State } from "./state.ts";

/** An answer names no more than so many; the next one names others. A node can name attempts that take more room here than there: 1e9 for an epoch. */
const STOP_MAX = 5_000;
/** An offer that the bus has let go may be on its way for this long before it is made again. */
const REOFFER_MS = 3_000;

/**
 * Gives the answer, which may leave once the change is committed; undefined for a heartbeat that was overtaken by a later
 * message of its node, and so tells of a time that is past (H5).
 */
export function applyHeartbeat(state: State, entry: NodeEntry, beat: Heartbeat): HeartbeatReply | undefined {
  if (!hearNext(entry, beat)) return undefined;
  const sameLife = entry.boot === beat.boot;
  const rebooted = entry.boot !== undefined && !sameLife;
  const before = entry.liveness;
  state.registry.enterLife(entry, beat.boot);
  entry.heard = entry.said = beat.n;
  entry.seenAt = state.clock.monotonic();
  entry.seenWall = state.clock.wall();
  entry.closed = false;
  entry.load = state.facts.load(entry, beat.load);
  entry.liveness = beat.goodbye ?? "ready";
  const facts = state.facts.next(entry, beat.facts);
  if (facts !== undefined) {
    entry.facts = facts;
    state.registry.update(entry.row.id, { facts });
    state.ledger.scheduler.setNode(toSchedulable(entry));
  } else if (before !== entry.liveness) {
    state.ledger.scheduler.setNode(toSchedulable(entry));
  } else {
    state.ledger.scheduler.setLoad(entry.row.id, entry.load);
  }
  // A word of whoever led before can reach the node as long as it obeys no other. Where it does not say, the second one that is heard of it
  // was likely sent when it did; the first may have been on its way before such a word was.
  const obeys = beat.epoch === undefined ? sameLife : beat.epoch === state.epoch;
  if (obeys && beat.paused !== true) entry.pausedUntil = -Infinity;
  entry.leasedUntil = Math.max(entry.leasedUntil, entry.seenAt + lostAfterMs(labelsOf(entry)));
  const stop = reconcile(state, entry, beat, { sameLife, rebooted });
  return { epoch: state.epoch, protocol: PROTOCOL, leaseMs: leaseMs(labelsOf(entry)), ...(stop.length > 0 && { stop }) };
}

/** Is it newer than all that was heard of the node? An older life is believed only when the newer one has fallen silent. */
function hearNext(entry: NodeEntry, { boot, n }: { boot: number; n: number }): boolean {
  if (entry.boot === boot) return n > entry.said;
  return entry.boot === undefined || boot > entry.boot || isAway(entry.liveness);
}

/**
 * Gives what the node must stop. `sameLife`: it is surely the one that the leases were offered to; else it has rebooted,
 * or this coordinator has.
 */
function reconcile(
  state: State,
  entry: NodeEntry,
  beat: Heartbeat,
  { sameLife, rebooted }: { sameLife: boolean; rebooted: boolean },
): AttemptRef[] {
  const node = entry.row.id;
  const now = state.clock.wall();
  const held = new Set<number>();
  const stop: AttemptRef[] = [];
  for (const ref of beat.held) {
    const task = state.ledger.get(taskKey(ref.task));
    const its = task !== undefined && holds(task, ref) && task.lease?.node === node;
    if (its) held.add(task.key);
    if ((!its || task.state === "cancelling") && stop.length < STOP_MAX) stop.push(ref);
  }
  for (const key of [...state.ledger.leasesOf(node)]) {
    const task = state.ledger.get(key);
    if (task === undefined || held.has(key)) continue;
    // A successor of the coordinator that gave the lease knows by it to whom.
    const wasItsOwn = sameLife || task.lease?.boot === beat.boot;
    const neverStarted = task.state === "leased" && (wasItsOwn || isHarmless(task));
    if (neverStarted && !rebooted && beat.goodbye === undefined) {
      const agoMs = now - (task.lease?.offeredAt ?? now);
      // Negative where the time of day was set back: then it is made again with each heartbeat, which does no harm.
      if ((agoMs < 0 || agoMs >= REOFFER_MS) && !state.outgoing.isUnderWay(task)) state.outgoing.offer(task, entry);
    } else if (task.state === "cancelling" && wasItsOwn && !rebooted && beat.goodbye === undefined) {
      // H6
      if (stop.length < STOP_MAX) stop.push({ task: taskId(key), attempt: task.attempt, epoch: task.lease?.epoch ?? state.epoch });
    } else if (neverStarted && beat.goodbye !== undefined) {
      state.ledger.write(task, interrupt(task, now, true, beat.goodbye === "asleep" ? "sleep" : "shutdown"));
    } else {
      loseLease(state, task, neverStarted);
    }
  }
  return stop;
}

/** H3 for the leases of a node that has been silent for too long: for all of them, or for those that are named. */
export function loseLeases(state: State, entry: NodeEntry, which: (task: TaskRecord) => boolean = () => true): void {
  for (const key of [...state.ledger.leasesOf(entry.row.id)]) {
    const task = state.ledger.get(key);
    if (task !== undefined && which(task)) loseLease(state, task, task.state === "leased" && isHarmless(task));
  }
}

/** An agent's turn runs in its Gateway: the worker's next life takes it up again, if it comes before the silence is over. */
export function endsWithItsWorker({ spec }: TaskRecord): boolean {
  return spec.kind !== "agent";
}

function loseLease(state: State, task: TaskRecord, neverStarted: boolean): void {
  const node = task.lease?.node;
  state.losses.info(node ?? "", { task: taskId(task.key), node, attempt: task.attempt }, "attempt lost with its node");
  state.ledger.write(task, lose(task, state.clock.wall(), neverStarted));
}
