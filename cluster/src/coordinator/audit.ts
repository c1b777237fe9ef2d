/**
 * Notes who did what to whom, in the commit of the act itself: what is true is noted, and what is noted is true.
 *
 * A1. Entries hold names and ids, never a secret, and never what a task holds.
 * A2. What strangers can cause is noted at most GUESSES_MAX times a minute, and what a node can cause TRESPASSES_MAX times, so
 *     that nobody fills the disk with it; the next entry of the kind tells how many were left out.
 */
import { AUDIT, type AuditAction, type AuditEntry, type AuditPage } from "@openclaw-cluster/contract/audit";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Store } from "../store/store.ts";
import type { Clock } from "../system/clock.ts";
import { MinuteLimit } from "../system/minute-limit.ts";
import { chained, type ChainHead } from "../trust/audit-chain.ts";

/** The actor of what nobody else has asked for. */
export const SELF = "coordinator";

const GUESSES_MAX = 30;
const TRESPASSES_MAX = 30;

/** Does it in a turn. One that is not committed is nobody's loss. */
type Run = (note: () => void) => Promise<void>;

export class Audit {
  private readonly clock: Clock;
  private head: ChainHead;
  private pending: AuditEntry[] = [];
  private readonly guesses: MinuteLimit;
  private readonly trespasses: MinuteLimit;

  constructor(head: ChainHead, clock: Clock) {
    this.head = head;
    this.clock = clock;
    this.guesses = new MinuteLimit(clock, GUESSES_MAX);
    this.trespasses = new MinuteLimit(clock, TRESPASSES_MAX);
  }

  /** In the turn that does it. */
  note(actor: string, action: AuditAction, object: string): void {
    const said = { at: this.clock.wall(), actor: cut(actor, AUDIT.actorCharsMax), action, object: cut(object, AUDIT.objectCharsMax) };
    const entry = chained(this.head, said);
    this.head = entry;
    this.pending.push(entry);
  }

  /** A2. Somebody without a name tries what nobody has given them. */
  noteGuess(address: string, what: string, run: Run): void {
    this.noteSome(this.guesses.take(""), `address ${address}`, "api.guessed", what, run);
  }

  /** A2. A machine with a good code may not join all the same. */
  noteRefusedJoin(address: string, what: string, run: Run): void {
    this.noteSome(this.guesses.take(""), `address ${address}`, "node.join_refused", what, run);
  }

  /** A2. A node has tried what only another may; it was refused. */
  noteTrespass(node: NodeId, what: string, run: Run): void {
    this.noteSome(this.trespasses.take(node), `node ${node}`, "node.trespassed", what, run);
  }

  private noteSome(missed: number | undefined, actor: string, action: AuditAction, what: string, run: Run): void {
    if (missed === undefined) return;
    const object = missed === 0 ? what : `${what} (${missed} more before it)`;
    run(() => this.note(actor, action, object)).catch(() => undefined);
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
