/**
 * The nodes: who may connect (rows, in the store), and how each of them is now (in memory, from heartbeats).
 *
 * N1. A node's id belongs to the key that it was enrolled with; another key under the same id is refused.
 *     A key belongs to one node, and the coordinator's own to none: nats-server could not tell two of them apart. Where a store
 *     holds such twins all the same, the key is that of the node that came first, and the others are kept away from the bus.
 * N2. Silence is measured on the coordinator's own monotonic clock, never on a node's times; while the coordinator
 *     itself stood still it heard nobody, and that is not their silence.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { isAway, type Node, type NodeFacts, type NodeLoad, type NodeState } from "@openclaw-cluster/contract/node";
import type { Labels } from "@openclaw-cluster/contract/task-spec";
import { isForfeit, isMassLoss, LEASE_MARGIN_MS, lostAfterMs, withSilence, type Liveness, type Silence } from "../core/liveness.ts";
import type { SchedulableNode } from "../core/node.ts";
import { protocolGap } from "../core/protocol-gap.ts";
import type { NodeRow } from "../store/store.ts";
import { fingerprintOf } from "../trust/fingerprint.ts";

/** A node that names no slots of its own has not sent its facts yet. */
const SLOTS_UNKNOWN = 1;

/** What is kept of how a node came in. */
export type Came = Pick<NodeRow, "hostname" | "os" | "joinedFrom"> & { readonly state?: "pending" };

export interface NodeEntry {
  row: NodeRow;
  facts: NodeFacts | undefined;
  load: NodeLoad | undefined;
  /** The daemon's start counter, as of the last heartbeat. */
  boot: number | undefined;
  /** The newest heartbeat of that life: its count. */
  heard: number;
  /** The newest message of that life: its count. */
  said: number;
  /** By the coordinator's monotonic clock; undefined: not heard since this coordinator started. */
  seenAt: number | undefined;
  /** Until then, by the same clock, the longest lease that it may have been told of has not run out. */
  leasedUntil: number;
  /** As `leasedUntil`, for the word of a coordinator that went down in good order, as long as the node lives by it. */
  pausedUntil: number;
  /** For people, by the wall clock. */
  seenWall: number | undefined;
  liveness: Liveness;
  /** Its connection was closed since it was last heard: not silent, but ended. */
  closed: boolean;
  /** Tasks counted in the row as the store has it. */
  counted: number;
}

export class Registry {
  private readonly entries = new Map<NodeId, NodeEntry>();
  private dirty = new Set<NodeId>();
  /** Lives that the next commit makes known, with the life before. */
  private readonly freshLives = new Map<NodeEntry, number | undefined>();
  private removed = new Set<NodeId>();

  private readonly coordinatorKey: string;

  constructor(rows: readonly NodeRow[], coordinatorKey: string) {
    this.coordinatorKey = coordinatorKey;
    for (const row of rows) this.entries.set(row.id, fresh(row));
  }

  get(id: NodeId): NodeEntry {
    const entry = this.entries.get(id);
    if (entry === undefined) throw new ClusterError("not_found", `There is no node ${id}.`);
    return entry;
  }

  find(id: NodeId): NodeEntry | undefined {
    return this.entries.get(id);
  }

  all(): IterableIterator<NodeEntry> {
    return this.entries.values();
  }

  /** N1. True when the node is new. */
  enrol(id: NodeId, publicKey: string, now: number, more: Came = {}): boolean {
    const known = this.entries.get(id);
    if (known !== undefined && (known.row.publicKey !== publicKey || known.row.state === "revoked"))
      throw new ClusterError(
        "state_conflict",
        `The id ${id} belongs to a node with another key; choose another id, or take that node out first: openclaw-cluster nodes remove ${id}`,
      );
    this.checkKey(id, publicKey);
    if (known !== undefined) return false;
    const row: NodeRow = {
      ...{ id, publicKey, state: "approved", draining: false, labels: {}, registeredAt: now, succeeded: 0, failed: 0 },
      ...more,
    };
    this.entries.set(id, fresh(row));
    this.dirty.add(id);
    return true;
  }

  /** N1: throws where the key is another's. */
  checkKey(id: NodeId, publicKey: string): void {
    if (publicKey === this.coordinatorKey)
      throw new ClusterError("state_conflict", `This key is the coordinator's own; give ${id} a folder of its own with --home.`);
    const owner = this.ownerOf(publicKey);
    if (owner === undefined || owner === id) return;
    throw new ClusterError(
      "state_conflict",
      `This key is that of the node ${owner} already; let that one leave first, or give ${id} a folder of its own with --home.`,
    );
  }

  /** N1: the node that came first with it, whatever its standing. */
  ownerOf(publicKey: string): NodeId | undefined {
    const [first] = [...this.entries.values()].filter(({ row }) => row.publicKey === publicKey).sort(byArrival);
    return first?.row.id;
  }

  /** N1: nodes with a key that is another's, and whose it is, in words. */
  twins(): ReadonlyMap<NodeId, string> {
    const owners = new Map([[this.coordinatorKey, "the coordinator"]]);
    const twins = new Map<NodeId, string>();
    for (const { row } of [...this.entries.values()].sort(byArrival)) {
      const owner = owners.get(row.publicKey);
      if (owner === undefined) owners.set(row.publicKey, row.id);
      else twins.set(row.id, owner);
    }
    return twins;
  }

  /** N1: the node's owner has shown that both keys are its own. */
  rekey(id: NodeId, publicKey: string): void {
    this.checkKey(id, publicKey);
    this.update(id, { publicKey });
  }

  update(id: NodeId, change: Partial<NodeRow>): NodeEntry {
    const entry = this.get(id);
    entry.row = { ...entry.row, ...change };
    this.dirty.add(id);
    return entry;
  }

  /** The node is in another life. What follows for its leases is not true before the commit, and so neither is this. */
  enterLife(entry: NodeEntry, boot: number): void {
    if (entry.boot === boot) return;
    if (!this.freshLives.has(entry)) this.freshLives.set(entry, entry.boot);
    entry.boot = boot;
  }

  committed(): void {
    this.freshLives.clear();
  }

  /**
   * After a commit that failed: what the store still has was not removed, and what it has not was not let in; a node's key and
   * whether it may come in are as they stand there, for nobody was told otherwise, and nats-server was not either. Every row is
   * written again with the next commit, and new lives are still to be noticed.
   */
  rollBack(rows: readonly NodeRow[]): void {
    const kept = new Map(rows.map((row) => [row.id, row]));
    for (const [id, entry] of this.entries) {
      const row = kept.get(id);
      if (row === undefined) this.entries.delete(id);
      else entry.row = { ...entry.row, publicKey: row.publicKey, state: row.state };
    }
    for (const row of rows) if (!this.entries.has(row.id)) this.entries.set(row.id, fresh(row));
    this.dirty.clear();
    for (const id of this.entries.keys()) this.dirty.add(id);
    for (const [entry, boot] of this.freshLives) entry.boot = boot;
    this.freshLives.clear();
  }

  /** Out of the cluster; its id is free for any key. */
  remove(id: NodeId): void {
    this.entries.delete(this.get(id).row.id);
    this.dirty.delete(id);
    this.removed.add(id);
  }

  /** Nodes that the store still has. */
  takeRemoved(): NodeId[] {
    const ids = [...this.removed];
    this.removed = new Set();
    return ids;
  }

  /** Rows that the store has not seen in their present form. */
  takeDirty(): NodeRow[] {
    const rows = [...this.dirty].map((id) => this.get(id).row);
    this.dirty = new Set();
    return rows;
  }

  /** Has the counters of tasks written with the next commit. */
  keepCounters(): void {
    for (const [id, entry] of this.entries) {
      if (entry.counted === entry.row.succeeded + entry.row.failed) continue;
      entry.counted = entry.row.succeeded + entry.row.failed;
      this.dirty.add(id);
    }
  }

  /** N2: for so long, until now, nobody could be heard. */
  excuse(ms: number, now: number): void {
    for (const entry of this.entries.values()) if (entry.seenAt !== undefined) entry.seenAt = Math.min(now, entry.seenAt + ms);
  }

  /** Moves silent nodes from ready to suspect to lost; gives those that moved. Only a heartbeat makes a node ready again. */
  sweep(now: number): NodeEntry[] {
    const moved: NodeEntry[] = [];
    for (const entry of this.entries.values()) {
      const { silentMs, lostMs } = silenceOf(entry, now);
      const liveness = withSilence(entry.liveness, silentMs, lostMs);
      if (liveness === entry.liveness) continue;
      entry.liveness = liveness;
      moved.push(entry);
    }
    return moved;
  }

  /** Its connection has closed; true when it was at work, and has not been heard since. */
  gone(entry: NodeEntry, closedAt: number): boolean {
    if (entry.seenAt === undefined || entry.seenAt > closedAt || isAway(entry.liveness)) return false;
    // It goes on without a coordinator, and may be on its way to another server.
    if (entry.pausedUntil > closedAt) return false;
    entry.liveness = "lost";
    entry.closed = true;
    return true;
  }

  /** Nodes that have been silent for too long, however they left: their leases are given away. */
  forfeit(now: number): NodeEntry[] {
    const massLoss = this.hasMassLoss(now);
    return [...this.entries.values()].filter((entry) => entry.seenAt !== undefined && isForfeit(silenceOf(entry, now), massLoss));
  }

  /** Most nodes fell silent at once: the fault is likelier to be here. */
  hasMassLoss(now: number): boolean {
    const approved = this.entries.values().filter(({ row, seenAt, closed }) => row.state === "approved" && seenAt !== undefined && !closed);
    return isMassLoss(approved.map((entry) => silenceOf(entry, now)));
  }
}

function byArrival({ row: a }: NodeEntry, { row: b }: NodeEntry): number {
  return a.registeredAt - b.registeredAt || (a.id < b.id ? -1 : 1);
}

/** For people, with the next step. */
export function twinText(id: NodeId, owner: string): string {
  return `${id} has the key of ${owner}, and so it is kept away from the bus; take it out: openclaw-cluster nodes remove ${id}`;
}

/** When what runs there is surely stopped, if nobody but this coordinator has told it to go on; by the monotonic clock. */
export function leaseEndOf(entry: NodeEntry, now: number): number {
  const { silentMs, lostMs } = silenceOf(entry, now);
  return now - silentMs + lostMs - LEASE_MARGIN_MS;
}

/** A label that goes while the node is silent, or whose news was lost, takes back no lease that the node still believes in. */
function silenceOf(entry: NodeEntry, now: number): Silence {
  const seenAt = entry.seenAt ?? now;
  const lostAt = Math.max(seenAt + lostAfterMs(labelsOf(entry)), entry.leasedUntil, entry.pausedUntil);
  return { state: entry.liveness, silentMs: now - seenAt, lostMs: lostAt - seenAt };
}

/** The node's own with the operator's laid over them. */
export function labelsOf(entry: NodeEntry): Labels {
  return { ...entry.facts?.labels, ...entry.row.labels };
}

function fresh(row: NodeRow): NodeEntry {
  return {
    row,
    facts: row.facts,
    load: undefined,
    boot: undefined,
    heard: 0,
    said: 0,
    seenAt: undefined,
    leasedUntil: -Infinity,
    pausedUntil: -Infinity,
    seenWall: row.lastSeenAt,
    liveness: "offline",
    closed: false,
    counted: row.succeeded + row.failed,
  };
}

export function stateOf(entry: NodeEntry): NodeState {
  return entry.row.state === "approved" ? entry.liveness : entry.row.state;
}

export function toSchedulable(entry: NodeEntry): SchedulableNode {
  return {
    id: entry.row.id,
    state: stateOf(entry),
    draining: entry.row.draining,
    facts: entry.facts,
    labels: labelsOf(entry),
    slots: entry.row.slots ?? entry.facts?.slots ?? SLOTS_UNKNOWN,
    load: entry.load,
  };
}

export function toNode(entry: NodeEntry, used: { slots: number; memoryMiB: number }): Node {
  const { id, state, draining, labels, slots } = toSchedulable(entry);
  const { publicKey, hostname, os } = entry.row;
  const gap = protocolGap(id, entry.facts);
  return {
    id,
    state,
    fingerprint: fingerprintOf(publicKey),
    draining,
    ...(entry.facts !== undefined && { facts: entry.facts }),
    labels,
    slots,
    slotsUsed: used.slots,
    memoryReservedMiB: used.memoryMiB,
    ...(gap !== undefined && { apart: `it ${gap.detail}: ${gap.remedy}` }),
    ...(entry.load !== undefined && { load: entry.load }),
    ...(hostname !== undefined && { claimed: { hostname, ...(os !== undefined && { os }) } }),
    ...(entry.row.joinedFrom !== undefined && { joinedFrom: entry.row.joinedFrom }),
    registeredAt: entry.row.registeredAt,
    ...(entry.seenWall !== undefined && { lastSeenAt: entry.seenWall }),
    succeeded: entry.row.succeeded,
    failed: entry.row.failed,
  };
}
