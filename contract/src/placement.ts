/**
 * The scheduler's answer to "why": which node, and what spoke for and against each of them. The same shape serves a
 * placed task (as it was decided), a waiting one (as it stands now) and a plan (as it would be).
 */
import { z } from "zod";
import { NodeId } from "./ids.ts";
import { Strategy } from "./task-spec.ts";

/**
 * Why a node was passed over. not_ready, disk_full, quiet_hours, slots_busy, memory_busy and penalised pass by themselves; the others need a
 * change by a person.
 */
export const Refusal = z.enum([
  "not_ready",
  "draining",
  "disk_full",
  "protocol",
  "quiet_hours",
  "not_approved",
  "policy",
  "sandbox",
  "kind",
  "os",
  "arch",
  "labels",
  "skills",
  "models",
  "not_named",
  "slots_short",
  "memory_short",
  "slots_busy",
  "memory_busy",
  "penalised",
]);
export type Refusal = z.infer<typeof Refusal>;

/** The parts of a score, each 0…1 before its weight (`retry` and `spread` count against a node). */
export const Term = z.enum(["eta", "room", "load", "affinity", "sticky", "spread", "retry", "scarce", "trust"]);
export type Term = z.infer<typeof Term>;

export const Candidate = z.object({
  node: NodeId,
  score: z.number(),
  terms: z.partialRecord(Term, z.number()),
});
export type Candidate = z.infer<typeof Candidate>;

export const RefusedNode = z.object({
  node: NodeId,
  code: Refusal,
  /** What is missing: "skills: summarize". */
  detail: z.string(),
  /** What would let this node take the task, in words. */
  remedy: z.string(),
});
export type RefusedNode = z.infer<typeof RefusedNode>;

export const Explanation = z
  .object({
    sentence: z.string(),
    strategy: Strategy,
    /** The node chosen, or that would be. */
    node: NodeId.optional(),
    /** Best first. */
    candidates: z.array(Candidate),
    refused: z.array(RefusedNode),
    /** Tasks that come before this one, where it waits. */
    ahead: z.int().optional(),
    at: z.int(),
  })
  .meta({ id: "Explanation" });
export type Explanation = z.infer<typeof Explanation>;
