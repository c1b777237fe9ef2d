/**
 * What a node's silence means, and how long its leases last. Pure: silence is measured by the coordinator's own monotonic
 * clock and comes as an argument.
 *
 * V1. A worker's lease ends before the coordinator gives the task away: it counts from the moment in which the answered
 *     heartbeat was sent, silence from the later one in which it was heard, and LEASE_MARGIN_MS lie between their lengths.
 * V2. Lost is forfeit, but for a mass loss: when most nodes fall silent at once, the fault is likelier to be the
 *     coordinator's own network, and nothing is given away for MASS_HOLD_MS.
 */
import { saidGoodbye, type NodeState } from "@openclaw-cluster/contract/node";
import type { Labels } from "@openclaw-cluster/contract/task-spec";

/** Three missed heartbeats: no new work. */
export const SUSPECT_MS = 6_000;
/** With up to a heartbeat of 2 s, a look of 1 s and the start elsewhere a cut-off task runs again within 15 s (DESIGN §6). */
const LOST_MS = 13_000;
/** A lid is closed and opened again, a train goes through a tunnel. */
const LAPTOP_LOST_MS = 60_000;
/** To stop a process tree with manners takes up to 3 s, and the clocks of two machines differ a little in speed. */
export const LEASE_MARGIN_MS = 4_000;
/** Nodes that fell silent with a mass loss keep their leases for so long beyond it. */
export const MASS_HOLD_MS = 60_000;
/**
 * A coordinator that stops in good order, or loses its lead and does not know to whom, lets its nodes go on for so long: enough for an
 * update and a reboot. Its successor keeps that word, so a node that dies meanwhile is noticed so much later.
 */
export const PAUSE_MS = 120_000;
/** One node alone is no mass. */
const MASS_MIN = 2;

/** Silence after which a node with these labels has lost its leases. */
export function lostAfterMs(labels: Labels): number {
  return labels[LAPTOP] === "yes" ? LAPTOP_LOST_MS : LOST_MS;
}

/** The label of a machine that sleeps and travels. */
export const LAPTOP = "laptop";

/** How long an answered heartbeat renews the leases of a node with these labels, from the moment it was sent. */
export function leaseMs(labels: Labels): number {
  return lostAfterMs(labels) - LEASE_MARGIN_MS;
}

/** How an approved node is. */
export type Liveness = Exclude<NodeState, "pending" | "revoked">;

/** Moves on with silence only; being heard is the caller's to tell. Who is away stays so. */
export function withSilence(state: Liveness, silentMs: number, lostMs: number): Liveness {
  if (state !== "ready" && state !== "suspect") return state;
  if (silentMs >= lostMs) return "lost";
  return silentMs >= SUSPECT_MS ? "suspect" : "ready";
}

export interface Silence {
  readonly state: NodeState;
  readonly silentMs: number;
  readonly lostMs: number;
}

/** V2: did more than half of the nodes that were there a while ago fall silent? Those that said goodbye are not missed. */
export function isMassLoss(nodes: Iterable<Silence>): boolean {
  let here = 0;
  let vanished = 0;
  for (const { state, silentMs, lostMs } of nodes) {
    if (state === "ready") here += 1;
    else if ((state === "suspect" || state === "lost") && silentMs < lostMs + MASS_HOLD_MS) vanished += 1;
  }
  return vanished >= MASS_MIN && vanished > here;
}

/** Are the node's leases to be given away? */
export function isForfeit({ state, silentMs, lostMs }: Silence, massLoss: boolean): boolean {
  if (silentMs < lostMs) return false;
  return !massLoss || saidGoodbye(state) || silentMs >= lostMs + MASS_HOLD_MS;
}
