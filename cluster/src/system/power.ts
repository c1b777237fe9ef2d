/**
 * Whether this machine runs on its battery, looked at again and again while anybody wants to know.
 *
 * W1. What cannot be told counts as mains, and is logged once.
 * W2. Nobody waits for a reading. One that takes too long counts as one that cannot be told, and no other begins before it is over.
 * W3. While nobody listens nothing is read; and never more often than each POWER_LOOK_MS.
 */
import type { Clock, Timer } from "./clock.ts";
import type { Log } from "./log.ts";
import { POWER_READ_MS, type PowerReader } from "./power-reading.ts";

/** Seldom enough for a system on which a reading starts a program, and a quarter of a minute of others' requests costs a battery little. */
export const POWER_LOOK_MS = 15_000;

export interface PowerWatch {
  readonly onBattery: boolean;
  /** Called after each change of it. */
  onChange(listener: () => void): { stop(): void };
}

export function openPowerWatch(parts: { read: PowerReader; clock: Clock; log: Log }): PowerWatch {
  return new ReadPower(parts.read, parts.clock, parts.log);
}

class ReadPower implements PowerWatch {
  onBattery = false;
  private readonly read: PowerReader;
  private readonly clock: Clock;
  private readonly log: Log;
  private readonly listeners = new Set<() => void>();
  private timer: Timer | undefined;
  private lookedAt = Number.NEGATIVE_INFINITY;
  private isReading = false;
  private isFaultTold = false;

  constructor(read: PowerReader, clock: Clock, log: Log) {
    this.read = read;
    this.clock = clock;
    this.log = log;
  }

  onChange(told: () => void): { stop(): void } {
    // Two that listen with one function are two.
    const listener = (): void => told();
    this.listeners.add(listener);
    if (this.listeners.size === 1) this.lookWhenDue();
    return {
      stop: () => {
        this.listeners.delete(listener);
        if (this.listeners.size === 0) this.timer?.cancel();
      },
    };
  }

  /** W3. A line that breaks again and again begins to listen each time. */
  private lookWhenDue(): void {
    const dueMs = this.lookedAt + POWER_LOOK_MS - this.clock.monotonic();
    if (dueMs <= 0) return this.look();
    this.timer = this.clock.after(dueMs, () => this.look());
  }

  private look(): void {
    this.lookedAt = this.clock.monotonic();
    this.timer = this.clock.after(POWER_LOOK_MS, () => this.look());
    if (!this.isReading) void this.readOnce();
  }

  /** Never rejects. */
  private async readOnce(): Promise<void> {
    this.isReading = true;
    const limit = this.clock.after(POWER_READ_MS, () => this.failed(new Error(`no answer in ${POWER_READ_MS / 1_000} s`)));
    try {
      this.found((await this.read()) === "battery");
    } catch (error) {
      this.failed(error);
    } finally {
      limit.cancel();
      this.isReading = false;
    }
  }

  /** W1. */
  private failed(error: unknown): void {
    if (!this.isFaultTold) this.log.warn({ err: error }, "what this machine runs on cannot be told; it counts as being on mains");
    this.isFaultTold = true;
    this.found(false);
  }

  private found(onBattery: boolean): void {
    if (this.onBattery === onBattery) return;
    this.onBattery = onBattery;
    this.log.info(onBattery ? "this machine runs on its battery" : "this machine is on mains again");
    for (const listener of this.listeners) listener();
  }
}
