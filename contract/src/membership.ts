/**
 * What a node may ask of its cluster with nothing but its key: whether work reaches it, another key instead of this one, and
 * to go for good. Each request is signed over the cluster, the node, the time and what is wanted (trust/membership-proof.ts).
 *
 * M1. A copy of a request does nothing more: a probe's nonce names its task, and a key that went or was replaced signs nothing.
 */
import { z } from "zod";
import { ClusterId, NodeId, TaskId } from "./ids.ts";
import { Digest, PublicKey, Signature } from "./join.ts";
import { Node } from "./node.ts";
import { TaskError, TaskState } from "./task.ts";

export const MEMBERSHIP = {
  /** A signature is good for so long before and after its time, by the coordinator's clock, which `session` tells. */
  freshMs: 60_000,
  /** Of one node in a minute. */
  probesMax: 6,
  /** A daemon that waits to be let in asks every ten seconds at the most. */
  sessionsMax: 60,
  changesMax: 12,
  /** So long a probe waits for its task, and for a turn of an agent. */
  echoMsMax: 10_000,
  turnMsMax: 60_000,
  /** Tasks that are named of those that a leaving node still holds. */
  heldShown: 5,
} as const;

const Signed = z.strictObject({ at: z.int(), nonce: Digest, signature: Signature });
export type Signed = z.infer<typeof Signed>;

/** echo: costs nothing. agent: one short turn, which a model may have to be paid for. */
export const ProbeRequest = Signed.extend({ kind: z.enum(["echo", "agent"]) });
export type ProbeRequest = z.infer<typeof ProbeRequest>;

/** How a task ended that this node alone could run, and how the cluster sees the node. */
export const Probe = z.object({
  cluster: ClusterId,
  name: z.string(),
  /** The coordinator's. */
  version: z.string(),
  task: TaskId,
  state: TaskState,
  error: TaskError.optional(),
  /** Of one that has not run in time: the scheduler's own sentence. */
  why: z.string().optional(),
  node: Node,
});
export type Probe = z.infer<typeof Probe>;

/**
 * drain: no new work, please; asked again it says what is left. stay: new work again. stop, stop_now: end my daemon in good
 * order, with or without time for what runs. go: take me out for good, as my daemon has ended.
 */
export const LeaveWish = z.enum(["drain", "stay", "stop", "stop_now", "go"]);
export type LeaveWish = z.infer<typeof LeaveWish>;
export const LeaveRequest = Signed.extend({ wish: LeaveWish });
export type LeaveRequest = z.infer<typeof LeaveRequest>;

export const Leaving = z.object({
  node: NodeId,
  gone: z.boolean(),
  /** It took no new work before this was asked, either. */
  wasDraining: z.boolean(),
  /** Tasks that the node holds, and the first of them. */
  held: z.int().min(0),
  tasks: z.array(TaskId).max(MEMBERSHIP.heldShown),
});
export type Leaving = z.infer<typeof Leaving>;

/** `signature` is by the key until now, `possession` by the other one, over the same words. */
export const RotateRequest = Signed.extend({ publicKey: PublicKey, possession: Signature });
export type RotateRequest = z.infer<typeof RotateRequest>;
export const Rotated = z.object({ node: NodeId, publicKey: PublicKey });
export type Rotated = z.infer<typeof Rotated>;
