/** A clock that stands still until the test moves it. `soon` is the real one: the turns of the event loop go on. */
import type { Clock } from "../../cluster/src/system/clock.ts";

interface Alarm {
  readonly at: number;
  readonly run: () => void;
}

export class HandClock implements Clock {
  private now = 1_000_000;
  private alarms: Alarm[] = [];

  wall(): number {
    return 1_700_000_000_000 + this.now;
  }

  monotonic(): number {
    return this.now;
  }

  after(ms: number, run: () => void): { cancel(): void } {
    const alarm = { at: this.now + ms, run };
    this.alarms.push(alarm);
    return { cancel: () => void (this.alarms = this.alarms.filter((other) => other !== alarm)) };
  }

  soon(run: () => void): void {
    setImmediate(run);
  }

  /** Runs what becomes due, in order, also what that sets anew. */
  advance(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const next = this.alarms.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.alarms = this.alarms.filter((other) => other !== next);
      this.now = Math.max(this.now, next.at);
      next.run();
    }
    this.now = end;
  }
}
