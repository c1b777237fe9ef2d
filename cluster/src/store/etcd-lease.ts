/**
 * A lease of etcd that is kept up for as long as this process can. What hangs on it goes when it does.
 *
 * E1. A renewal counts from when it was sent. MARGIN_MS before the lease can be over in etcd, it is over here: `over` aborts.
 * E2. One that hangs keeps no further one back. While etcd's own leadership changes hands some are never answered, and whoever had waited
 *     for one at each member in turn had lost a lease that could be renewed all the time.
 */
import type { Clock, Timer } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import { EtcdFault, type EtcdClient } from "./etcd-client.ts";

export interface LeaseParts {
  readonly client: EtcdClient;
  readonly clock: Clock;
  readonly log: Log;
}

/** Six renewals to a lease: with MARGIN_MS and the wait for an answer, two may be lost in a row. */
const RENEWALS = 6;
const MARGIN_MS = 500;

export class EtcdLease {
  readonly id: string;
  /** Aborts, with the reason, when it is over or cannot be known to last. */
  readonly over: AbortSignal;
  private readonly parts: LeaseParts;
  private readonly seconds: number;
  private readonly ending = new AbortController();
  private until: number;
  private timer: Timer | undefined;
  /** At most RENEWALS. */
  private readonly renewing = new Set<Promise<void>>();

  static async open(parts: LeaseParts, seconds: number): Promise<EtcdLease> {
    const askedAt = parts.clock.monotonic();
    return new EtcdLease(parts, seconds, await parts.client.grant(seconds), askedAt);
  }

  private constructor(parts: LeaseParts, seconds: number, id: string, askedAt: number) {
    [this.parts, this.seconds, this.id, this.over] = [parts, seconds, id, this.ending.signal];
    this.until = askedAt + seconds * 1_000 - MARGIN_MS;
    this.arm();
  }

  /** By the monotonic clock; it has not ended in etcd before that. */
  get sureUntil(): number {
    return this.until;
  }

  /** At once, for everybody. False: etcd could not be told, and may be again; else it ends there by itself. */
  async revoke(): Promise<boolean> {
    this.end("it was given back");
    await Promise.all(this.renewing);
    try {
      await this.parts.client.revoke(this.id);
      return true;
    } catch (error) {
      this.parts.log.debug({ err: error }, "a lease could not be given back; it ends by itself");
      return error instanceof EtcdFault && error.kind === "not_found";
    }
  }

  private arm(): void {
    if (this.over.aborted) return;
    const leftMs = this.until - this.parts.clock.monotonic();
    if (leftMs <= 0) return this.end("it was not renewed in time");
    this.timer = this.parts.clock.after(Math.min((this.seconds * 1_000) / RENEWALS, leftMs), () => {
      this.beginRenewal();
      this.arm();
    });
  }

  private beginRenewal(): void {
    if (this.renewing.size >= RENEWALS) return;
    const one = this.renew().finally(() => this.renewing.delete(one));
    this.renewing.add(one);
  }

  private async renew(): Promise<void> {
    const { client, clock, log } = this.parts;
    const sentAt = clock.monotonic();
    try {
      const seconds = await client.renew(this.id, { timeoutMs: Math.round((this.seconds * 1_000) / 3) });
      if (seconds === 0) return this.end("etcd has ended it");
      this.until = Math.max(this.until, sentAt + seconds * 1_000 - MARGIN_MS);
    } catch (error) {
      log.debug({ err: error }, "a lease was not renewed");
    }
  }

  private end(why: string): void {
    this.timer?.cancel();
    this.ending.abort(new Error(why));
  }
}
