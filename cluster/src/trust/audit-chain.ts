/**
 * The chain of the audit log: each entry's hash covers the entry and the hash before it, so that nothing can be changed, taken out
 * or put in without every later hash being another. Whoever owns the coordinator can write a whole new chain; a hash that was noted
 * elsewhere (`audit verify` prints the last one) shows that too.
 */
import { hash } from "node:crypto";
import type { AuditEntry } from "@openclaw-cluster/contract/audit";

export interface ChainHead {
  readonly seq: number;
  readonly hash: string;
}

export const EMPTY_CHAIN: ChainHead = { seq: 0, hash: "" };

export function chained(head: ChainHead, said: Omit<AuditEntry, "seq" | "hash">): AuditEntry {
  const seq = head.seq + 1;
  return { seq, ...said, hash: linkOf(head, { seq, ...said }) };
}

/** Where the chain is after these; throws nothing. `broken`: the first entry that does not follow from what is before it. */
export function follow(head: ChainHead, entries: readonly AuditEntry[]): { head: ChainHead; broken?: number } {
  let last = head;
  for (const entry of entries) {
    if (entry.seq !== last.seq + 1 || entry.hash !== linkOf(last, entry)) return { head: last, broken: last.seq + 1 };
    last = { seq: entry.seq, hash: entry.hash };
  }
  return { head: last };
}

function linkOf(before: ChainHead, { seq, at, actor, action, object }: Omit<AuditEntry, "hash">): string {
  return hash("sha256", JSON.stringify([before.hash, seq, at, actor, action, object]), "base64url");
}
