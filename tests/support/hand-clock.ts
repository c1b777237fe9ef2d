/** A clock that stands still until the test moves it. `soon` is the real one: the turns of the event loop go on. */
import type { Clock } from "../../cluster/src/system/clock.ts";

interface Alarm {
  readonly at: number;
  readonly run: () => void;
}

export class HandClock implements Clock {
  private now = 1_000_000;
  private wallLead = 1_700_000_000_000;
  private alarms: Alarm[] = [];

  wall(): number {
    return this.wallLead + this.now;
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

  /** The time of day moves on, and nothing else: the machine slept, or its clock was set. */
  jump(ms: number): void {
    this.wallLead += ms;
  }

  /** The process was stopped for so long: everything that became due meanwhile comes late, and together. */
  standStill(ms: number): void {
    this.now += ms;
    this.advance(0);
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
