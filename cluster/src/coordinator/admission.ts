/**
 * Which submits are let in while more come than can be answered in time. In one pass the event loop reads all that has
 * arrived, and what arrives meanwhile is read in the next: so a submit read now has waited no longer than since the pass
 * before began. That is measured, not guessed, whatever the time went into. When it reaches waitMs, the turn runs at once
 * with what it has, and further submits of this pass are refused before their bodies are read. From then on passes are
 * kept short, until the flood is over: the loop accepts one new connection in each.
 *
 * O1. Only submits are refused: heartbeats, reports, cancels and reads share the passes, which this keeps short.
 * O2. An owner of whom fewer than ownerPosts wait is let in, however long the pass: nobody's flood shuts another out.
 * O3. Whoever is refused hears when to come again: as many seconds as it takes to serve all who were refused.
 * O4. However short the passes, no more than waitingMax wait.
 */
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { Clock } from "../system/clock.ts";

export const ADMISSION = {
  /** With the commit, and with what a slow machine adds, an answer comes within 500 ms. */
  waitMs: 250,
  /** Once that was reached, a pass lets submits in for only so long … */
  shortMs: 20,
  /** … until no pass has been longer than that for this time. */
  shortForMs: 1_000,
  /** As many POSTs as a client of ours has under way. */
  ownerPosts: 4,
  /** Submits let in and not answered yet, whoever sent them: also those whose bodies come slowly. */
  waitingMax: 4_096,
  /** A longer one than a client would wait for (RETRY.retryAfterMaxMs) helps nobody. */
  retryAfterMs: { min: 1_000, max: 10_000 },
} as const;

/** A submit that was let in. */
export interface Admitted {
  /** It is answered, or has come to nothing. */
  leave(): void;
}

const WINDOW_MS = 1_000;

export class Admission {
  private readonly clock: Clock;
  private readonly hurry: () => void;
  private readonly waiting = new Map<string, number>();
  private total = 0;
  /** This pass has brought a submit, the first one at `passAt`. */
  private reading = false;
  private passAt = 0;
  /** When the pass before began, if the loop has had no rest since. */
  private beforeAt: number | undefined;
  /** This pass lets no more in. */
  private spent = false;
  private shortUntil = 0;
  private window = { from: 0, admitted: 0, refused: 0 };
  private overloaded = overloaded(ADMISSION.retryAfterMs.min);

  /** `hurry` runs the turn now instead of at the pass's end. */
  constructor(clock: Clock, hurry: () => void) {
    this.clock = clock;
    this.hurry = hurry;
  }

  /** A look that costs next to nothing: false means that everybody is let in. */
  get isFull(): boolean {
    return this.isSpent() || this.total >= ADMISSION.waitingMax;
  }

  /** Why a submit of this owner may not come in now. */
  refusal(owner: string): ClusterError | undefined {
    if (!this.isFull) return undefined;
    if (this.total < ADMISSION.waitingMax && (this.waiting.get(owner) ?? 0) < ADMISSION.ownerPosts) return undefined;
    this.window.refused += 1;
    return this.overloaded;
  }

  admit(owner: string): Admitted | ClusterError {
    const refusal = this.refusal(owner);
    if (refusal !== undefined) return refusal;
    this.window.admitted += 1;
    this.total += 1;
    this.waiting.set(owner, (this.waiting.get(owner) ?? 0) + 1);
    return { leave: () => this.left(owner) };
  }

  private isSpent(): boolean {
    const now = this.clock.monotonic();
    if (!this.reading) this.beginPass(now);
    if (this.spent) return true;
    const waitedMs = now - (this.beforeAt ?? this.passAt);
    const isLong = now < this.shortUntil && now - this.passAt >= ADMISSION.shortMs;
    if (waitedMs < ADMISSION.waitMs && !isLong) return false;
    this.spent = true;
    this.shortUntil = now + ADMISSION.shortForMs;
    this.hurry();
    return true;
  }

  private beginPass(now: number): void {
    if (now - this.window.from >= WINDOW_MS) this.nextWindow(now);
    this.reading = true;
    this.passAt = now;
    this.spent = false;
    this.clock.soon(() => {
      this.reading = false;
      this.beforeAt = this.passAt;
      // With this to do, the loop does not rest before the next pass: if that brings no submit, none is waiting.
      this.clock.soon(() => {
        if (!this.reading) this.beforeAt = undefined;
      });
    });
  }

  private left(owner: string): void {
    this.total -= 1;
    const rest = (this.waiting.get(owner) ?? 1) - 1;
    if (rest === 0) this.waiting.delete(owner);
    else this.waiting.set(owner, rest);
  }

  /** O3. */
  private nextWindow(now: number): void {
    const { admitted, refused } = this.window;
    const { min, max } = ADMISSION.retryAfterMs;
    const retryAfterMs = Math.min(max, min + (WINDOW_MS * refused) / Math.max(1, admitted));
    if (retryAfterMs !== this.overloaded.retryAfterMs) this.overloaded = overloaded(retryAfterMs);
    this.window = { from: now, admitted: 0, refused: 0 };
  }
}

function overloaded(retryAfterMs: number): ClusterError {
  return new ClusterError("overloaded", "More tasks are submitted than can be taken in time.", { retryAfterMs });
}
