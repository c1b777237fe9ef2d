/**
 * The nodes: who may connect (rows, in the store), and how each of them is now (in memory, from heartbeats).
 *
 * N1. A node's id belongs to the key that it was enrolled with; another key under the same id is refused.
 * N2. Silence is measured on the coordinator's own monotonic clock, never on a node's times; while the coordinator
 *     itself stood still it heard nobody, and that is not their silence.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Node, NodeFacts, NodeLoad, NodeState } from "@openclaw-cluster/contract/node";
import type { SchedulableNode } from "../core/node.ts";
import type { NodeRow } from "../store/store.ts";

export const SUSPECT_MS = 6_000;
/**
 * Silence begins with the last heartbeat before the cut, is looked at once a second, and then the task has to start
 * elsewhere: that is within 15 s of the cut (DESIGN §6). Above the worker's LEASE_MS, after which it has stopped its work.
 */
export const LOST_MS = 13_000;
/** A node that names no slots of its own has not sent its facts yet. */
const SLOTS_UNKNOWN = 1;

export interface NodeEntry {
  row: NodeRow;
  facts: NodeFacts | undefined;
  load: NodeLoad | undefined;
  /** The daemon's start counter, as of the last heartbeat. */
  boot: number | undefined;
  /** By the coordinator's monotonic clock; undefined: not heard since this coordinator started. */
  seenAt: number | undefined;
  /** For people, by the wall clock. */
  seenWall: number | undefined;
  liveness: "ready" | "suspect" | "lost" | "offline";
  /** Tasks counted in the row as the store has it. */
  counted: number;
}

export class Registry {
  private readonly entries = new Map<NodeId, NodeEntry>();
  private dirty = new Set<NodeId>();

  constructor(rows: readonly NodeRow[]) {
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
  enrol(id: NodeId, publicKey: string, now: number): boolean {
    const known = this.entries.get(id);
    if (known !== undefined) {
      if (known.row.publicKey === publicKey && known.row.state !== "revoked") return false;
      throw new ClusterError("state_conflict", `The id ${id} belongs to a node with another key; choose another id for this one.`);
    }
    const row: NodeRow = { id, publicKey, state: "approved", draining: false, labels: {}, registeredAt: now, succeeded: 0, failed: 0 };
    this.entries.set(id, fresh(row));
    this.dirty.add(id);
    return true;
  }

  update(id: NodeId, change: Partial<NodeRow>): NodeEntry {
    const entry = this.get(id);
    entry.row = { ...entry.row, ...change };
    this.dirty.add(id);
    return entry;
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
      const silentMs = now - (entry.seenAt ?? now);
      if (entry.liveness === "ready" && silentMs >= SUSPECT_MS) entry.liveness = "suspect";
      else if (entry.liveness === "suspect" && silentMs >= LOST_MS) entry.liveness = "lost";
      else continue;
      moved.push(entry);
    }
    return moved;
  }

  /** Its connection has closed; true when it was at work, and has not been heard since. */
  gone(entry: NodeEntry, closedAt: number): boolean {
    if (entry.seenAt === undefined || entry.seenAt > closedAt || entry.liveness === "offline" || entry.liveness === "lost") return false;
    entry.liveness = "lost";
    return true;
  }

  /** Nodes whose leases are forfeit: silent for too long, however they left. */
  silent(now: number): NodeEntry[] {
    return [...this.entries.values()].filter((entry) => entry.seenAt !== undefined && now - entry.seenAt >= LOST_MS);
  }
}

function fresh(row: NodeRow): NodeEntry {
  return {
    row,
    facts: row.facts,
    load: undefined,
    boot: undefined,
    seenAt: undefined,
    seenWall: undefined,
    liveness: "offline",
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
    labels: { ...entry.facts?.labels, ...entry.row.labels },
    slots: entry.row.slots ?? entry.facts?.slots ?? SLOTS_UNKNOWN,
    load: entry.load,
  };
}

export function toNode(entry: NodeEntry, used: { slots: number; memoryMiB: number }): Node {
  const { id, state, draining, labels, slots } = toSchedulable(entry);
  return {
    id,
    state,
    draining,
    ...(entry.facts !== undefined && { facts: entry.facts }),
    labels,
    slots,
    slotsUsed: used.slots,
    memoryReservedMiB: used.memoryMiB,
    ...(entry.load !== undefined && { load: entry.load }),
    registeredAt: entry.row.registeredAt,
    ...(entry.seenWall !== undefined && { lastSeenAt: entry.seenWall }),
    succeeded: entry.row.succeeded,
    failed: entry.row.failed,
  };
}
