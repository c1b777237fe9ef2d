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
    version: z.string().optional(),
    /** Of its API. */
    urls: z.array(z.string()),
    /** The newest that it has heard of. */
    epoch: z.int().optional(),
    /** How far what it shows is behind the leader, or, of one that answers this and stands by, behind what a quorum has confirmed. */
    lagMs: z.number().optional(),
  })
  .meta({ id: "ControlNode" });
export type ControlNode = z.infer<typeof ControlNode>;

/** One of the etcd servers that keep the store together. */
export const StoreMember = z
  .object({
    /** As etcdctl shows it. */
    id: z.string(),
    name: z.string(),
    /** learner: it listens and has no vote yet. away: it does not answer the control node that was asked. */
    state: z.enum(["leader", "follower", "learner", "away"]),
    /** Where it says that it takes calls. */
    urls: z.array(z.string()),
    version: z.string().optional(),
    /** etcd's own, which has nothing to do with the cluster's epoch. */
    term: z.int().optional(),
    /** Of its database on disk. */
    bytes: z.int().optional(),
  })
  .meta({ id: "StoreMember" });
export type StoreMember = z.infer<typeof StoreMember>;

/** A nats-server that answers. */
export const BusServer = z
  .object({
    name: z.string(),
    version: z.string(),
    /** Of nodes and coordinators. */
    connections: z.int(),
    /** The others that it has a route to. */
    routes: z.array(z.string()),
  })
  .meta({ id: "BusServer" });
export type BusServer = z.infer<typeof BusServer>;

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
    /** Whoever answers this stands by; how old what it shows may be, 0 where a quorum has just confirmed it. */
    standsBy: z.object({ staleMs: z.number() }).optional(),
    nodes: z.partialRecord(NodeState, z.int()),
    tasks: z.partialRecord(TaskState, z.int()),
    slots: z.int(),
    slotsUsed: z.int(),
    store: z.object({
      kind: z.enum(["sqlite", "etcd", "ram"]),
      bytes: z.int().optional(),
      /** The newest backup. */
      backup: z.object({ at: z.int(), bytes: z.int() }).optional(),
      /** Of etcd. */
      members: z.array(StoreMember).optional(),
    }),
    bus: z.object({
      connected: z.boolean(),
      version: z.string().optional(),
      /** alone: each server knows only who is connected to it itself. cluster: they pass everything on to each other. */
      mode: z.enum(["alone", "cluster"]).optional(),
      /** With high availability: those that answer. */
      servers: z.array(BusServer).optional(),
    }),
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
