/**
 * How long this node's leases still last. Answered heartbeats renew them; when they are over, everything that runs here is
 * stopped, before the coordinator gives it to others (V1 in core/liveness.ts).
 *
 * L1. Time is the monotonic clock's. Where that stands still while the machine sleeps, the wall clock's lead over it tells.
 * L2. A node that slept, or whose process was stopped, asks before it gives its work up: the coordinator may have been
 *     away as well, or have waited. For DOUBT_MS, and no longer, it goes on without knowing. So does a life that has just
 *     begun, with what it took up of an earlier one. What looks like sleep may be a new time of day: that adds nothing to
 *     the time that the leases have by the monotonic clock. Nothing new is begun in doubt: an offer that lay here meanwhile
 *     may long be another node's.
 * L3. A coordinator that goes away on purpose says for how long nothing is given away. That holds until its successor answers,
 *     and until then each heartbeat says so: then from both sides leases are again what an answer makes them.
 */
import type { Clock, Timer } from "../system/clock.ts";

/** Looks come with each heartbeat; further apart than this they tell of a stop, not of load. */
const STILL_MS = 5_000;
/** Clocks are put right by less than this at a time. A greater jump may be a new time of day: then asking does no harm. */
const SLEPT_MS = 2_000;
/** A connection is back after some 100 ms, an answer takes a few more. */
const DOUBT_MS = 3_000;

export interface LeaseClockParts {
  readonly clock: Clock;
  /** The leases are over. */
  over(): void;
  /** Time has passed unnoticed: a heartbeat, now. */
  ask(): void;
}

export class LeaseClock {
  private readonly parts: LeaseClockParts;
  private endsAtMs = 0;
  /** L3: of the last one, when it was heard and when it ends. */
  private pausedAtMs = -Infinity;
  private pausedUntilMs = -Infinity;
  private lookedAtMs = 0;
  /** The wall clock's lead over the monotonic one. */
  private leadMs = 0;
  private doubtSinceMs = -Infinity;
  private doubtUntilMs = -Infinity;
  private timer: Timer | undefined;

  constructor(parts: LeaseClockParts) {
    this.parts = parts;
  }

  /** With the first heartbeat. */
  start(): void {
    const { clock } = this.parts;
    this.lookedAtMs = clock.monotonic();
    this.leadMs = clock.wall() - this.lookedAtMs;
    this.extendTo(this.lookedAtMs + DOUBT_MS);
  }

  /** A heartbeat that was sent then has been heard. */
  renewed(sentAtMs: number, leaseMs: number): void {
    // What was said before the doubt was heard at an earlier time.
    if (sentAtMs < this.doubtSinceMs) return;
    this.doubtSinceMs = this.doubtUntilMs = -Infinity;
    // Only a successor hears what is sent after the word of its predecessor.
    if (sentAtMs >= this.pausedAtMs) this.pausedUntilMs = -Infinity;
    this.extendTo(sentAtMs + leaseMs);
  }

  /** L3. */
  pause(ms: number): void {
    const now = this.parts.clock.monotonic();
    this.pausedAtMs = now;
    this.pausedUntilMs = now + ms;
    this.arm(now);
  }

  get paused(): boolean {
    return this.pausedUntilMs > this.parts.clock.monotonic();
  }

  /** Looks, and says whether something new may begin: the leases last, and no time has passed unnoticed (L2). */
  get open(): boolean {
    this.look();
    return this.doubtSinceMs === -Infinity && this.parts.clock.monotonic() < this.overAtMs;
  }

  /** With each heartbeat. */
  look(): void {
    const { clock } = this.parts;
    const now = clock.monotonic();
    const leadMs = clock.wall() - now;
    const sleptMs = leadMs - this.leadMs;
    const stoodStill = now - this.lookedAtMs > STILL_MS;
    this.leadMs = leadMs;
    this.lookedAtMs = now;
    const lastMs = stoodStill ? Infinity : this.overAtMs;
    if (sleptMs > SLEPT_MS) {
      this.endsAtMs -= sleptMs;
      this.pausedUntilMs -= sleptMs;
    }
    if (sleptMs > SLEPT_MS || stoodStill) {
      this.doubtSinceMs = now;
      this.doubtUntilMs = Math.min(now + DOUBT_MS, lastMs);
      this.parts.ask();
    }
    this.judge(now);
  }

  stop(): void {
    this.timer?.cancel();
  }

  private extendTo(atMs: number): void {
    this.endsAtMs = Math.max(this.endsAtMs, atMs);
    this.arm(this.parts.clock.monotonic());
  }

  private judge(now: number): void {
    if (now >= this.overAtMs) this.parts.over();
    else this.arm(now);
  }

  private get overAtMs(): number {
    return Math.max(this.endsAtMs, this.pausedUntilMs, this.doubtUntilMs);
  }

  private arm(now: number): void {
    this.timer?.cancel();
    this.timer = this.parts.clock.after(Math.max(0, this.overAtMs - now), () => this.look());
  }
}
