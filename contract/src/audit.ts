/** The audit log: who let whom in or out, changed what, or laid hands on others' tasks; each entry bound to the one before it. Work itself is told by its tasks. */
import { z } from "zod";

export const AUDIT = {
  /** Entries of one page. */
  pageMax: 500,
  actorCharsMax: 160,
  objectCharsMax: 160,
} as const;

export const AuditAction = z.enum([
  "node.invited",
  "node.joined",
  "node.join_refused",
  "node.enrolled",
  "node.approved",
  "node.revoked",
  "node.removed",
  "node.left",
  "node.rotated",
  "node.changed",
  "node.drained",
  "node.resumed",
  "node.shut_down",
  "node.promoted",
  "node.demoted",
  "node.trespassed",
  "token.made",
  "token.rotated",
  "token.revoked",
  "task.changed",
  "api.guessed",
  "store.backed_up",
  "store.migration_begun",
]);
export type AuditAction = z.infer<typeof AuditAction>;

export const AuditEntry = z.object({
  /** From 1, without a gap. */
  seq: z.int().min(1),
  /** ms since 1970, by the coordinator's clock. */
  at: z.int(),
  /** `token k7qwjm2a (ci)`, `node nas`, `address 100.64.0.7`, `coordinator`. */
  actor: z.string().max(AUDIT.actorCharsMax),
  action: AuditAction,
  /** What it was done to: a node, a token, an invitation, a file, others' tasks. */
  object: z.string().max(AUDIT.objectCharsMax),
  /** SHA-256, base64url, over all of this and the hash before (trust/audit-chain.ts). */
  hash: z.string(),
});
export type AuditEntry = z.infer<typeof AuditEntry>;

/** Oldest first; `next` is the `after` of the following page. */
export const AuditPage = z.object({ entries: z.array(AuditEntry), next: z.int().optional() });
export type AuditPage = z.infer<typeof AuditPage>;
