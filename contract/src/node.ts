/** What a node says about itself, and what the cluster shows of it. */
import { z } from "zod";
import { Confinement } from "./command-limits.ts";
import { NodeId } from "./ids.ts";
import { NODE_MODELS_MAX, NodeModelOffer } from "./models.ts";
import { Protocol } from "./protocol.ts";
import { Arch, Labels, Os, TaskKind } from "./task-spec.ts";

const Text = z.string().max(256);
/** Lines of each of a policy's lists that a node tells to people. */
export const POLICY_LINES_MAX = 64;
const Lines = z.array(Text).max(POLICY_LINES_MAX);

/** A skill as the node's OpenClaw reports it; `eligible` is OpenClaw's own verdict on this machine. */
export const NodeSkill = z.object({ name: Text, eligible: z.boolean(), missing: z.array(Text).max(16).optional() });
export type NodeSkill = z.infer<typeof NodeSkill>;

export const NodeModel = z.object({ id: Text, provider: Text, contextWindow: z.int().optional() });
export type NodeModel = z.infer<typeof NodeModel>;

/** A language model of the node's own that its policy lends, as far as placing a task asks; whether it is loaded is the router's affair. */
export const LentHere = NodeModelOffer.pick({ id: true, can: true, contextTokens: true, digest: true });
export type LentHere = z.infer<typeof LentHere>;

/** Slow facts, sent at connect and when they change. Lists are cut at their limit, never refused. */
export const NodeFacts = z
  .object({
    hostname: Text,
    os: Os,
    arch: Arch,
    cpus: z.int().min(1),
    memoryMiB: z.int().min(0),
    diskFreeMiB: z.int().min(0),
    version: Text,
    /** Absent: the first. */
    protocol: Protocol.optional(),
    nodeVersion: Text,
    kinds: z.array(TaskKind),
    openclaw: z
      .object({
        version: Text,
        reachable: z.boolean(),
        agents: z.array(Text).max(256),
        models: z.array(NodeModel).max(512),
      })
      .optional(),
    skills: z.array(NodeSkill).max(512),
    /**
     * What it lends now, without what costs money. Where it is there, empty or not, the node runs tasks of kind `model`, which stands neither
     * in `kinds` nor in the policy's: a coordinator of before that kind would refuse facts that name it.
     */
    lends: z.array(LentHere).max(NODE_MODELS_MAX).optional(),
    /** The node's policy in short, for placement only: the node itself decides (G7). */
    policy: z.object({
      kinds: z.array(TaskKind),
      agents: z.array(Text).max(256).optional(),
      /** Patterns of tools that may be called directly; absent: any. */
      tools: z.object({ allow: z.array(Text).max(256), deny: z.array(Text).max(256) }).optional(),
      /** Patterns of the machine's own sessions that a task may name; absent: any. Told to operators only. */
      sessions: z.array(Text).max(256).optional(),
      /** Programs. */
      commands: z.array(Text).max(256).optional(),
      /** How commands are ruled, in lines for people. Told to operators only. */
      rules: z.object({ commands: Lines, folders: Lines, variables: Lines, secrets: Lines, leftOut: z.int().min(1).optional() }).optional(),
      /** Patterns of who may use it (cluster/src/core/users.ts); absent: everybody. */
      users: z.object({ allow: z.array(Text).max(64), deny: z.array(Text).max(64) }).optional(),
      /** When it begins nothing new, in words. */
      hours: z
        .object({
          text: Text,
          /** What only this node may run is taken all the same. */
          pinned: z.boolean(),
          /** There while it is so. Without an end in sight, there is none. */
          quiet: z.object({ until: z.int().optional(), text: Text.optional() }).optional(),
        })
        .optional(),
    }),
    /** There while its policy allows commands. */
    confinement: Confinement.optional(),
    labels: Labels,
    slots: z.int().min(1).max(1_024),
  })
  .meta({ id: "NodeFacts" });
export type NodeFacts = z.infer<typeof NodeFacts>;

/** From where it joined, and whose machine it was by Tailscale's word on that address, where Tailscale knew it. */
export const JoinedFrom = z.object({
  address: Text,
  /** A machine with tags is nobody's. */
  login: Text.optional(),
  /** Its name in the tailnet. */
  machine: Text.optional(),
  tags: z.array(Text).max(16),
});
export type JoinedFrom = z.infer<typeof JoinedFrom>;

/** Fast facts, in each heartbeat. */
export const NodeLoad = z.object({
  /** Share of all cores that was busy since the last heartbeat, 0…1. */
  cpu: z.number().min(0).max(1),
  memoryFreeMiB: z.int().min(0),
  diskFreeMiB: z.int().min(0),
  running: z.int().min(0),
  held: z.int().min(0),
  /** The node takes no new work. floor: less is free than it wants kept. write: a write found no room, whatever is free (quotas, inodes). */
  diskFull: z.enum(["floor", "write"]).optional(),
});
export type NodeLoad = z.infer<typeof NodeLoad>;

/** For people; undefined while there is room. */
export function diskFullText({ diskFull, diskFreeMiB }: NodeLoad): string | undefined {
  if (diskFull === undefined) return undefined;
  return diskFull === "floor" ? `disk full: ${diskFreeMiB} MiB free` : `disk full: a write found no room, with ${diskFreeMiB} MiB free`;
}

/**
 * pending: not approved yet. ready: takes work. suspect: silent for 6 s. lost: silent for 13 s, a laptop for 60 s. offline: its daemon said goodbye.
 * asleep: its machine said that it goes to sleep. revoked.
 */
export const NodeState = z.enum(["pending", "ready", "suspect", "lost", "offline", "asleep", "revoked"]);
export type NodeState = z.infer<typeof NodeState>;

/** Is it gone, by its own word or by its silence? */
export function isAway(state: NodeState): boolean {
  return state === "lost" || saidGoodbye(state);
}

/** Did it go in good order, so that nobody needs to worry? */
export function saidGoodbye(state: NodeState): boolean {
  return state === "offline" || state === "asleep";
}

export const Node = z
  .object({
    id: NodeId,
    state: NodeState,
    /** Of its key, for people: the one that `join` has shown on that machine. */
    fingerprint: z.string().max(32),
    draining: z.boolean(),
    facts: NodeFacts.optional(),
    /** The node's own labels with those set by an operator laid over them, so up to twice as many as either may be. */
    labels: z.record(z.string(), z.string()),
    slots: z.int(),
    slotsUsed: z.int(),
    /** There where its build and the coordinator's do not understand each other: it is given no work. What to update, for people. */
    apart: z.string().optional(),
    memoryReservedMiB: z.int(),
    load: NodeLoad.optional(),
    /** What the machine said of itself when it joined; nobody has looked. */
    claimed: z.object({ hostname: Text, os: z.string().max(32).optional() }).optional(),
    /** There where it came with a code, over HTTP. */
    joinedFrom: JoinedFrom.optional(),
    registeredAt: z.int(),
    lastSeenAt: z.int().optional(),
    succeeded: z.int(),
    failed: z.int(),
  })
  .meta({ id: "Node" });
export type Node = z.infer<typeof Node>;

/** For people, with what keeps new work away. */
export function stateText({ state, draining, load, apart }: Node): string {
  // Of a node that is not there, what it said last is no news.
  const news = state === "ready" ? [load && diskFullText(load), apart] : [];
  return [state, ...(draining ? ["draining"] : []), ...news.filter((text) => text !== undefined)].join(", ");
}
