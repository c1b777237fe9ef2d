/**
 * A coordinator that stands by: what it can read in the store that it follows, and a refusal for everything else, which the API
 * does not ask of it while somebody leads (api/relay.ts).
 *
 * Y1. It changes nothing, sends nothing and hears no node. How nodes are only the leader knows: here they are as they were last
 *     written, and each that may be there is called offline.
 */
import type { ClusterView } from "@openclaw-cluster/contract/cluster";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { taskKey, type NodeId, type TaskId } from "@openclaw-cluster/contract/ids";
import type { Node, NodeState } from "@openclaw-cluster/contract/node";
import type { Migration } from "@openclaw-cluster/contract/store-migration";
import type { TaskRecord } from "../core/task.ts";
import type { Claim, Loaded, Store } from "../store/store.ts";
import type { Clock } from "../system/clock.ts";
import { auditLog } from "./audit.ts";
import { withControl, type ControlWatch } from "./control-view.ts";
import type { Coordinator } from "./coordinator.ts";
import { groupDeadLetters } from "./dead-letters.ts";
import { findTasks } from "./finding.ts";
import { Registry, toNode, type NodeEntry } from "./registry.ts";
import { Tokens } from "./tokens.ts";
import { toAttempts, toTask } from "./views.ts";

/** A store that somebody else writes. */
export interface Followed extends Pick<Store, "kind" | "task" | "list" | "attempts" | "audit"> {
  /** Everything that is not terminal, and the rest of what is kept in memory, as of the last change that was heard. */
  present(): Loaded;
  /** Whose store it is, and the newest epoch; undefined: nobody has led yet. */
  claimed(): Promise<Claim | undefined>;
}

export interface StandbyParts {
  readonly name: string;
  readonly version: string;
  readonly self: NodeId;
  readonly coordinatorKey: string;
  readonly store: Followed;
  readonly clock: Clock;
  /** Who leads, as far as is known. */
  leader(): string | undefined;
  /** Absent while it is opened. */
  controlView(): ControlWatch | undefined;
  /** Of this daemon's store, also in the moment in which nobody leads. */
  migration?(): Migration | undefined;
}

/** What only who leads can do. */
const OTHERS = [
  ...([
    "submit",
    "cancel",
    "retry",
    "answer",
    "bulk",
    "plan",
    "why",
    "queue",
    "waitFor",
    "result",
    "backup",
    "backups",
    "migrateStore",
  ] as const),
  ...(["enrol", "invite", "join", "session", "probe", "leave", "rotate", "approveNode", "revokeNode", "patchNode", "drain"] as const),
  ...([
    "shutdownNode",
    "promoteNode",
    "demoteNode",
    "removeNode",
    "makeToken",
    "revokeToken",
    "rotateToken",
    "addToken",
    "tokens",
    "events",
    "logs",
    "nodeHealth",
    "models",
  ] as const),
] satisfies readonly (keyof Coordinator)[];
type Others = (typeof OTHERS)[number];

export function openStandby(parts: StandbyParts): Coordinator {
  const { store, clock } = parts;
  const startedAt = clock.wall();
  const unavailable = (): ClusterError =>
    new ClusterError(
      "unavailable",
      `This control node stands by, and ${parts.leader() === undefined ? "nobody leads" : "does not do this"}.`,
    );
  const refuse = (): never => {
    throw unavailable();
  };
  const record = async (id: TaskId): Promise<TaskRecord> => {
    const task = await store.task(taskKey(id));
    if (task === undefined) throw new ClusterError("not_found", `There is no task ${id}.`);
    return task;
  };
  return {
    // Each of them refuses, whatever it is called with.
    ...(Object.fromEntries(OTHERS.map((name) => [name, refuse])) as unknown as Pick<Coordinator, Others>),
    admission: { isFull: false, refusal: () => undefined, admit: unavailable },
    task: async (id) => toTask(await record(id)),
    list: async (filter, page) => {
      const { tasks, next } = await findTasks(store, filter, page);
      return { tasks: tasks.map(toTask), ...(next !== undefined && { next }) };
    },
    attempts: async (id) => toAttempts(await record(id), await store.attempts(taskKey(id)), false),
    deadLetters: (page) => groupDeadLetters({ store, clock }, page),
    auditLog: (page) => auditLog(store, page),
    storeMigration: () => parts.migration?.(),
    nodes: () => nodesOf(parts),
    node: (id) => {
      const node = nodesOf(parts).find((one) => one.id === id);
      if (node === undefined) throw new ClusterError("not_found", `There is no node ${id}.`);
      return node;
    },
    cluster: () => viewOf(parts, startedAt),
    health: () => ({
      status: "degraded",
      problems: [
        parts.leader() === undefined
          ? "Nobody leads: no task is taken or given out until one of the control nodes does."
          : "This control node stands by.",
        ...(parts.controlView()?.problems() ?? []),
      ],
      checkedAt: clock.wall(),
    }),
    token: (hash) => tokensOf(store).find(hash, clock.wall()),
    guessed: () => undefined,
    stop: () => Promise.resolve(),
    abandon: () => Promise.resolve(),
    lastWord: () => Promise.resolve(),
  };
}

/** Looked up for each request, as everywhere; some tens of rows. */
function tokensOf(store: Followed): Tokens {
  return new Tokens(store.present().tokens);
}

function nodesOf({ store, coordinatorKey }: StandbyParts): Node[] {
  const { nodes, live } = store.present();
  const used = new Map<NodeId, number>();
  for (const { lease, spec } of live) {
    if (lease !== undefined) used.set(lease.node, (used.get(lease.node) ?? 0) + (spec.require?.slots ?? 1));
  }
  const entries: NodeEntry[] = [...new Registry(nodes, coordinatorKey).all()];
  return entries.map((entry) => toNode(entry, { slots: used.get(entry.row.id) ?? 0, memoryMiB: 0 })).sort((a, b) => (a.id < b.id ? -1 : 1));
}

async function viewOf(parts: StandbyParts, startedAt: number): Promise<ClusterView> {
  const { store, name, version, self } = parts;
  const claim = await store.claimed();
  if (claim === undefined) throw new ClusterError("unavailable", "Nobody has led this cluster yet.");
  const { cluster, epoch } = claim;
  const { counts } = store.present();
  const nodes: Partial<Record<NodeState, number>> = {};
  let slotsUsed = 0;
  for (const node of nodesOf(parts)) {
    nodes[node.state] = (nodes[node.state] ?? 0) + 1;
    slotsUsed += node.slotsUsed;
  }
  const view: ClusterView = {
    ...{ id: cluster, name, version, epoch, startedAt, coordinator: self, nodes, tasks: counts, slots: 0, slotsUsed },
    store: { kind: store.kind },
    bus: { connected: false },
  };
  const control = await parts.controlView()?.view();
  return control === undefined ? view : withControl(view, control);
}
