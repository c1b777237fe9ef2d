/** The cluster as a whole, as `status`, `queue` and the health pages show it. */
import { z } from "zod";
import { ClusterId, NodeId, TaskId } from "./ids.ts";
import { TaskKind } from "./task-spec.ts";
import { TaskState } from "./task.ts";
import { NodeState } from "./node.ts";

export const ControlNode = z
  .object({
    node: NodeId,
    /** witness: votes, and nothing else. away: it does not answer the leader. */
    state: z.enum(["leader", "standby", "witness", "away"]),
    /** Of its API. */
    urls: z.array(z.string()),
    /** The newest that it has heard of. */
    epoch: z.int().optional(),
    /** How far what it shows is behind the leader. */
    lagMs: z.number().optional(),
  })
  .meta({ id: "ControlNode" });
export type ControlNode = z.infer<typeof ControlNode>;

export const ClusterView = z
  .object({
    id: ClusterId,
    name: z.string(),
    version: z.string(),
    epoch: z.int(),
    startedAt: z.int(),
    coordinator: NodeId,
    /** With high availability: the machines of which one leads. */
    control: z.array(ControlNode).optional(),
    nodes: z.partialRecord(NodeState, z.int()),
    tasks: z.partialRecord(TaskState, z.int()),
    slots: z.int(),
    slotsUsed: z.int(),
    store: z.object({
      kind: z.enum(["sqlite", "etcd", "ram"]),
      bytes: z.int().optional(),
      /** The newest backup. */
      backup: z.object({ at: z.int(), bytes: z.int() }).optional(),
    }),
    bus: z.object({ connected: z.boolean(), version: z.string().optional() }),
  })
  .meta({ id: "Cluster" });
export type ClusterView = z.infer<typeof ClusterView>;

export const Health = z
  .object({ status: z.enum(["ok", "degraded"]), problems: z.array(z.string()), checkedAt: z.int() })
  .meta({ id: "Health" });
export type Health = z.infer<typeof Health>;

/** A copy of the store on the coordinator's disk. */
export const Backup = z
  .object({
    name: z.string(),
    /** When it was begun. */
    at: z.int(),
    bytes: z.int(),
    /** Made by itself before a newer version changed this layout of the database. */
    keepsLayout: z.int().optional(),
  })
  .meta({ id: "Backup" });
export type Backup = z.infer<typeof Backup>;

/** What waits, first to be placed first. */
export const QueueView = z
  .object({
    queued: z.int(),
    scheduled: z.int(),
    waiting: z.int(),
    head: z.array(
      z.object({
        id: TaskId,
        kind: TaskKind,
        name: z.string().optional(),
        owner: z.string().optional(),
        priority: z.int(),
        waitedMs: z.int(),
        fairnessKey: z.string(),
      }),
    ),
  })
  .meta({ id: "Queue" });
export type QueueView = z.infer<typeof QueueView>;
