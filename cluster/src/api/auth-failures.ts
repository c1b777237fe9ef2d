/**
 * Counts wrong tokens for each remote address. Whoever has spent its failures gets no further try in that window,
 * whatever it presents next and wherever it calls from: a loopback exemption is what let web pages guess passwords of
 * other gateways.
 */
import type { Clock } from "../system/clock.ts";

export const AUTH_FAILURES = {
  max: 10,
  windowMs: 60_000,
  /** Addresses remembered; beyond it the oldest is forgotten, so that a flood of addresses cannot fill memory. */
  addressesMax: 10_000,
} as const;

interface Count {
  failures: number;
  readonly until: number;
}

export class AuthFailures {
  private readonly counts = new Map<string, Count>();
  private readonly clock: Clock;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** How long this address has to wait; 0 when it may try. */
  waitMs(address: string): number {
    // The usual case on the hot path: nobody failed.
    if (this.counts.size === 0) return 0;
    const count = this.current(address);
    return count !== undefined && count.failures >= AUTH_FAILURES.max ? count.until - this.clock.monotonic() : 0;
  }

  failed(address: string): void {
    const count = this.current(address);
    if (count !== undefined) {
      count.failures += 1;
      return;
    }
    if (this.counts.size >= AUTH_FAILURES.addressesMax) {
      const [oldest] = this.counts.keys();
      if (oldest !== undefined) this.counts.delete(oldest);
    }
    this.counts.set(address, { failures: 1, until: this.clock.monotonic() + AUTH_FAILURES.windowMs });
  }

  private current(address: string): Count | undefined {
    const count = this.counts.get(address);
    if (count === undefined || count.until > this.clock.monotonic()) return count;
    this.counts.delete(address);
    return undefined;
  }
}
