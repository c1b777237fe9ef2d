/**
 * Lets so many of a kind through in a minute and counts the rest, so that whoever causes them can fill neither a log nor
 * memory.
 *
 * M1. Each name has its own count: one that makes noise takes nothing from the others.
 * M2. No more than `namesMax` names are remembered; beyond it the one whose minute began first is forgotten.
 */
import type { Clock } from "./clock.ts";

const MINUTE_MS = 60_000;
const NAMES_MAX = 1_000;

interface Count {
  readonly from: number;
  taken: number;
  missed: number;
}

export class MinuteLimit {
  private readonly clock: Pick<Clock, "monotonic">;
  private readonly max: number;
  private readonly namesMax: number;
  private readonly counts = new Map<string, Count>();

  constructor(clock: Pick<Clock, "monotonic">, max: number, namesMax: number = NAMES_MAX) {
    this.clock = clock;
    this.max = max;
    this.namesMax = namesMax;
  }

  /** How many of this name were not let through before this one; undefined: this one is not either. */
  take(name: string): number | undefined {
    const now = this.clock.monotonic();
    const before = this.counts.get(name);
    const count = before !== undefined && now - before.from < MINUTE_MS ? before : this.begin(name, now, before?.missed);
    if (count.taken >= this.max) {
      count.missed += 1;
      return undefined;
    }
    const { missed } = count;
    count.taken += 1;
    count.missed = 0;
    return missed;
  }

  /** Until one of this name is let through again; 0 where it is now. */
  waitMs(name: string): number {
    const count = this.counts.get(name);
    if (count === undefined || count.taken < this.max) return 0;
    return Math.max(0, count.from + MINUTE_MS - this.clock.monotonic());
  }

  private begin(name: string, now: number, missed = 0): Count {
    this.counts.delete(name);
    if (this.counts.size >= this.namesMax) {
      const [oldest] = this.counts.keys();
      if (oldest !== undefined) this.counts.delete(oldest);
    }
    const count = { from: now, taken: 0, missed };
    this.counts.set(name, count);
    return count;
  }
}
