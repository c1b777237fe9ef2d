/**
 * The clock of one life of one process. Everything that a role does is set in motion by its clock (its timers, its store,
 * what arrives for it), so stopping the clock stops the process at whatever `await` it has come to, and ending it is
 * kill -9.
 *
 * P1. After `kill` nothing of this life runs any more.
 * P2. While it stands still, what becomes due waits; afterwards it comes late, in order.
 * P3. Asleep, the monotonic clock stands still as well, as it does on Linux; stopped (SIGSTOP) it goes on.
 */
import type { Clock, Timer } from "../../../cluster/src/system/clock.ts";
import type { Chance } from "./chance.ts";
import type { VirtualTime } from "./time.ts";

/** A turn of the event loop takes up to this long. */
const TURN_MS = 0.3;
const TIMER_MS_MIN = 1;

export class PartyClock implements Clock {
  /** When it last went on after a stop, by the world's time. */
  wokeAt = 0;
  /** How far this machine's time of day is off. */
  readonly skew: { ms: number };
  private readonly time: VirtualTime;
  private readonly chance: Chance;
  private state: "running" | "stopped" | "asleep" | "dead" = "running";
  private late: (() => void)[] = [];
  private soonAt = 0;
  private readonly bornAt: number;
  private sleptMs = 0;
  private sleepsSince = 0;

  constructor(time: VirtualTime, chance: Chance, skew: { ms: number }) {
    this.time = time;
    this.chance = chance;
    this.skew = skew;
    this.bornAt = time.now;
  }

  get alive(): boolean {
    return this.state !== "dead";
  }

  get running(): boolean {
    return this.state === "running";
  }

  wall(): number {
    return Math.floor(this.time.wall() + this.skew.ms);
  }

  monotonic(): number {
    const until = this.state === "asleep" ? this.sleepsSince : this.time.now;
    return until - this.bornAt - this.sleptMs;
  }

  /** In the order of the calls. */
  soon(run: () => void): void {
    this.soonAt = Math.max(this.soonAt, this.time.now + this.chance.between(0, TURN_MS));
    this.time.after(this.soonAt - this.time.now, () => this.let(run));
  }

  /** As setTimeout: never at once. */
  after(ms: number, run: () => void): Timer {
    const dueAt = this.monotonic() + Math.max(TIMER_MS_MIN, ms);
    let cancelled = false;
    const ring = (): void => {
      if (cancelled) return;
      const leftMs = dueAt - this.monotonic();
      if (leftMs > 0) this.time.after(Math.max(TIMER_MS_MIN, leftMs), () => this.let(ring));
      else run();
    };
    this.time.after(Math.max(TIMER_MS_MIN, ms), () => this.let(ring));
    return { cancel: () => void (cancelled = true) };
  }

  /** Resolves after this life's own time. */
  passes(ms: number): Promise<void> {
    return new Promise((resolve) => void this.after(ms, resolve));
  }

  kill(): void {
    this.state = "dead";
    this.late = [];
  }

  stop(how: "stopped" | "asleep"): void {
    if (this.state !== "running") return;
    this.sleepsSince = this.time.now;
    this.state = how;
  }

  goOn(): void {
    if (this.state === "dead" || this.state === "running") return;
    if (this.state === "asleep") this.sleptMs += this.time.now - this.sleepsSince;
    this.state = "running";
    this.wokeAt = this.time.now;
    for (const run of this.late.splice(0)) this.soon(run);
  }

  private let(run: () => void): void {
    if (this.state === "running") run();
    else if (this.state !== "dead") this.late.push(run);
  }
}
