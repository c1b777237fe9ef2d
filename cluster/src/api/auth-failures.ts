/**
 * Counts wrong tokens and proofs for each remote address. Whoever has spent its failures gets no further try in that window,
 * whatever it presents next and wherever it calls from: a loopback exemption is what let web pages guess passwords of
 * other gateways. Addresses are taken one by one: the neighbours in an IPv6 prefix are other machines of a home or a tailnet,
 * and one of them must not be able to shut the others out.
 */
import type { Clock } from "../system/clock.ts";

export const AUTH_FAILURES = {
  max: 10,
  windowMs: 60_000,
  /** Beyond `max` with those that are under way, it is not certain yet; proofs take a commit. */
  underWayMs: 1_000,
  /** Addresses remembered; beyond it the oldest is forgotten, so that a flood of addresses cannot fill memory. */
  addressesMax: 10_000,
} as const;

interface Count {
  failures: number;
  readonly until: number;
}

export class AuthFailures {
  private readonly counts = new Map<string, Count>();
  /** Proofs that are being looked at; as many as requests can be open. */
  private readonly underWay = new Map<string, number>();
  private readonly clock: Clock;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** How long this address has to wait; 0 when it may try. */
  waitMs(address: string): number {
    // The usual case on the hot path: nobody failed.
    if (this.counts.size === 0 && this.underWay.size === 0) return 0;
    const count = this.current(address);
    const failures = count?.failures ?? 0;
    if (count !== undefined && failures >= AUTH_FAILURES.max) return count.until - this.clock.monotonic();
    return failures + (this.underWay.get(address) ?? 0) >= AUTH_FAILURES.max ? AUTH_FAILURES.underWayMs : 0;
  }

  /** A try whose outcome takes a moment counts from its start, so that many at once are no way around the limit. `end` counts once. */
  begin(address: string): { end(): void } {
    this.underWay.set(address, (this.underWay.get(address) ?? 0) + 1);
    let isOver = false;
    return {
      end: () => {
        if (isOver) return;
        isOver = true;
        const rest = (this.underWay.get(address) ?? 1) - 1;
        if (rest === 0) this.underWay.delete(address);
        else this.underWay.set(address, rest);
      },
    };
  }

  /** True: with this one its failures are spent. */
  failed(address: string): boolean {
    const count = this.current(address);
    if (count !== undefined) {
      count.failures += 1;
      return count.failures === AUTH_FAILURES.max;
    }
    if (this.counts.size >= AUTH_FAILURES.addressesMax) {
      const [oldest] = this.counts.keys();
      if (oldest !== undefined) this.counts.delete(oldest);
    }
    this.counts.set(address, { failures: 1, until: this.clock.monotonic() + AUTH_FAILURES.windowMs });
    return false;
  }

  private current(address: string): Count | undefined {
    const count = this.counts.get(address);
    if (count === undefined || count.until > this.clock.monotonic()) return count;
    this.counts.delete(address);
    return undefined;
  }
}
