/**
 * Lets so many of a kind through in a minute and counts the rest, so that whoever causes them can fill neither a log nor
 * memory.
 *
 * M1. Each name has its own count: one that makes noise takes nothing from the others.
 * M2. No more than NAMES_MAX names are remembered; beyond it the one that was heard first is forgotten.
 */
import type { Clock } from "../system/clock.ts";

const MINUTE_MS = 60_000;
const NAMES_MAX = 1_000;

interface Count {
  from: number;
  taken: number;
  missed: number;
}

export class MinuteLimit {
  private readonly clock: Pick<Clock, "monotonic">;
  private readonly max: number;
  private readonly counts = new Map<string, Count>();

  constructor(clock: Pick<Clock, "monotonic">, max: number) {
    this.clock = clock;
    this.max = max;
  }

  /** How many of this name were not let through before this one; undefined: this one is not either. */
  take(name: string): number | undefined {
    const now = this.clock.monotonic();
    const count = this.counts.get(name) ?? this.begin(name, now);
    if (now - count.from >= MINUTE_MS) {
      count.from = now;
      count.taken = 0;
    }
    if (count.taken >= this.max) {
      count.missed += 1;
      return undefined;
    }
    const { missed } = count;
    count.taken += 1;
    count.missed = 0;
    return missed;
  }

  private begin(name: string, now: number): Count {
    if (this.counts.size >= NAMES_MAX) {
      const [oldest] = this.counts.keys();
      if (oldest !== undefined) this.counts.delete(oldest);
    }
    const count = { from: now, taken: 0, missed: 0 };
    this.counts.set(name, count);
    return count;
  }
}
