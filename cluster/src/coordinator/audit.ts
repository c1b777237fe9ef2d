/**
 * Notes who did what to whom, in the commit of the act itself: what is true is noted, and what is noted is true.
 *
 * A1. Entries hold names and ids, never a secret, and never what a task holds.
 * A2. What strangers can cause is noted at most REFUSALS_MAX times a minute, so that nobody fills the disk with it.
 */
import { AUDIT, type AuditAction, type AuditEntry, type AuditPage } from "@openclaw-cluster/contract/audit";
import type { Store } from "../store/store.ts";
import type { Clock } from "../system/clock.ts";
import { chained, type ChainHead } from "../trust/audit-chain.ts";

/** The actor of what nobody else has asked for. */
export const SELF = "coordinator";

const REFUSALS_MAX = 30;
const MINUTE_MS = 60_000;

export class Audit {
  private readonly clock: Clock;
  private head: ChainHead;
  private pending: AuditEntry[] = [];
  private window = { from: -Infinity, refusals: 0 };

  constructor(head: ChainHead, clock: Clock) {
    this.head = head;
    this.clock = clock;
  }

  /** In the turn that does it. */
  note(actor: string, action: AuditAction, object: string): void {
    const said = { at: this.clock.wall(), actor: cut(actor, AUDIT.actorCharsMax), action, object: cut(object, AUDIT.objectCharsMax) };
    const entry = chained(this.head, said);
    this.head = entry;
    this.pending.push(entry);
  }

  /** A2. `run` does it in a turn; one that is not committed is nobody's loss. */
  noteGuess(address: string, run: (note: () => void) => Promise<void>): void {
    const now = this.clock.monotonic();
    if (now - this.window.from >= MINUTE_MS) this.window = { from: now, refusals: 0 };
    this.window.refusals += 1;
    if (this.window.refusals > REFUSALS_MAX) return;
    run(() => this.note(`address ${address}`, "api.guessed", "too many wrong tokens")).catch(() => undefined);
  }

  take(): AuditEntry[] {
    const entries = this.pending;
    this.pending = [];
    return entries;
  }

  /** After a commit that failed: what the store has is all there is. */
  rollBack(head: ChainHead): void {
    this.head = head;
    this.pending = [];
  }
}

/** One page, oldest first. */
export async function auditLog(store: Pick<Store, "audit">, { after, limit }: { after: number; limit: number }): Promise<AuditPage> {
  const entries = [...(await store.audit({ after, limit }))];
  const last = entries.at(-1);
  return last === undefined || entries.length < limit ? { entries } : { entries, next: last.seq };
}

const cut = (text: string, max: number): string => (text.length <= max ? text : `${text.slice(0, max - 1)}…`);
