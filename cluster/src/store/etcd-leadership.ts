/**
 * Leadership by a lease of etcd: the key `leader` hangs on it, and is made in the very transaction that raises the epoch.
 *
 * E1. No recipe of a client library: a key that must not be there yet, in one transaction. Waiting for it to go is only a hint; the
 *     transaction decides.
 * E2. A term that could not be resigned, for want of a quorum, is resigned as soon as there is one: nobody waits until its lease is over.
 * E3. One of whom no quorum has spoken for longer than a term lasts is not known to lead.
 */
import { z } from "zod";
import type { Clock } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import { pause } from "../system/pause.ts";
import type { EtcdStore } from "./etcd.ts";
import { EtcdFault, type Entry, type EtcdClient } from "./etcd-client.ts";
import { Keys } from "./etcd-keys.ts";
import { EtcdLease } from "./etcd-lease.ts";
import { LEADER_URLS_MAX, TERM_S, type Leader, type Leadership, type Term } from "./leadership.ts";
import { StoreFenced } from "./store.ts";

export interface EtcdLeadershipParts {
  readonly client: EtcdClient;
  /** Of this cluster's keys. */
  readonly prefix: string;
  readonly clock: Clock;
  readonly log: Log;
}

const RETRY_MS = 300;
/**
 * How often whoever stands by looks for itself. What it hears of may come from a member whose machine was cut off, and then it hears nothing
 * and is told nothing, for the ten seconds or so until its system gives that connection up.
 */
const LOOK_MS = 1_000;
/** Then the next member is asked. */
const LOOK_ANSWER_MS = 1_000;
/** E3, and two looks. */
const CONFIRMED_MS = TERM_S * 1_000 + 2 * LOOK_ANSWER_MS;
/** The present one, which can be this one already, and who led before. */
const LED_KEPT = 2;

const LeaderValue = z.object({
  node: z.string().max(64),
  urls: z.array(z.string().max(2_048)).max(LEADER_URLS_MAX),
  heedsWords: z.literal(true).optional(),
});

export function openEtcdLeadership(parts: EtcdLeadershipParts): Leadership<EtcdStore> {
  return new EtcdLeadership(parts);
}

class EtcdLeadership implements Leadership<EtcdStore> {
  leader: Leader | undefined;
  private readonly parts: EtcdLeadershipParts;
  private readonly key: string;
  private readonly listeners = new Set<(leader: Leader | undefined) => void>();
  private readonly closed = new AbortController();
  private readonly watching: Promise<void>;
  /** E2. */
  private unresigned: EtcdLease | undefined;
  /** etcd's revisions: what was heard is as of the one, and the term that goes on began in the other. */
  private asOf = 0;
  private since: number | undefined;
  /** E3, by the monotonic clock. */
  private confirmedAt: number;
  /** The last ones that were heard of, and etcd's revision in which each began. */
  private led: { readonly leader: Leader; readonly since: number }[] = [];

  constructor(parts: EtcdLeadershipParts) {
    this.parts = parts;
    this.key = new Keys(parts.prefix).leader;
    this.confirmedAt = parts.clock.monotonic();
    this.watching = this.watch();
  }

  onLeader(listener: (leader: Leader | undefined) => void): { stop(): void } {
    this.listeners.add(listener);
    return { stop: () => this.listeners.delete(listener) };
  }

  async campaign(self: Leader, store: EtcdStore, signal: AbortSignal): Promise<Term> {
    for (;;) {
      signal.throwIfAborted();
      try {
        const term = await this.tryOnce(self, store);
        if (term !== undefined) return term;
        await this.vacancy(signal);
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof EtcdFault) || error.kind === "unauthorized") throw error;
        this.parts.log.debug({ err: error }, "etcd gave no answer to a candidate");
        this.doubt();
        await pause(this.parts.clock, RETRY_MS, signal);
      }
    }
  }

  async close(): Promise<void> {
    this.closed.abort();
    await this.watching;
  }

  private async tryOnce({ urls, ...self }: Leader, store: EtcdStore): Promise<Term | undefined> {
    const { entries, revision } = await this.parts.client.range({ from: this.key, to: `${this.key}\0` }, { timeoutMs: LOOK_ANSWER_MS });
    // What is watched may come from a member that was cut off; this is the present.
    this.noteLeader(revision, entries[0]);
    if (entries.length > 0 && !(await this.resignFormer())) return undefined;
    const lease = await EtcdLease.open(this.parts, TERM_S);
    const value = JSON.stringify({ ...self, urls: urls.slice(0, LEADER_URLS_MAX) } satisfies Leader);
    try {
      const claim = await store.claim({ when: [{ key: this.key, exists: false }], then: [{ put: this.key, value, lease: lease.id }] });
      const former = this.led.findLast((one) => one.since <= revision)?.leader;
      return {
        ...(former !== undefined && { former }),
        claim,
        over: lease.over,
        sureUntil: () => lease.sureUntil,
        resign: () => this.resign(lease),
      };
    } catch (error) {
      // Also where it may have been taken unheard: then nobody leads until the lease is over, and it is over now, or soon (E2).
      await this.resign(lease);
      if (error instanceof StoreFenced) return undefined;
      throw error;
    }
  }

  private async resign(lease: EtcdLease): Promise<void> {
    this.unresigned = lease;
    if (await lease.revoke()) this.unresigned = undefined;
  }

  /** E2. Was there one, and is it resigned now? */
  private async resignFormer(): Promise<boolean> {
    if (this.unresigned === undefined) return false;
    await this.resign(this.unresigned);
    return this.unresigned === undefined;
  }

  /** Resolves when the key seems to be gone; once in a while without that, because a hint can be lost. */
  private async vacancy(signal: AbortSignal): Promise<void> {
    if (this.leader === undefined) return pause(this.parts.clock, RETRY_MS, signal);
    const gone = Promise.withResolvers<void>();
    const listening = this.onLeader((leader) => leader === undefined && gone.resolve());
    try {
      await Promise.race([gone.promise, pause(this.parts.clock, LOOK_MS, signal)]);
    } finally {
      listening.stop();
    }
  }

  private async watch(): Promise<void> {
    const { signal } = this.closed;
    while (!signal.aborted) {
      try {
        const { entries, revision } = await this.parts.client.range({ from: this.key, to: `${this.key}\0` }, { signal });
        this.noteLeader(revision, entries[0]);
        for await (const changes of this.parts.client.watch(this.key, revision + 1, signal))
          for (const { key, value, revision: at } of changes) if (key === this.key) this.noteLeader(at, value && { value, revision: at });
      } catch (error) {
        if (!signal.aborted) this.parts.log.debug({ err: error }, "who leads cannot be heard; asking again");
      }
      await pause(this.parts.clock, RETRY_MS, signal);
    }
  }

  /** As etcd had it in that revision: what is heard later of an earlier one is no news. */
  private noteLeader(asOf: number, entry: Pick<Entry, "value" | "revision"> | undefined): void {
    if (asOf < this.asOf) return;
    this.asOf = asOf;
    this.confirmedAt = this.parts.clock.monotonic();
    if (entry?.revision === this.since) return;
    this.since = entry?.revision;
    const leader = entry && parseLeader(entry.value);
    if (entry !== undefined && leader !== undefined && this.led.at(-1)?.since !== entry.revision)
      this.led = [...this.led.slice(1 - LED_KEPT), { leader, since: entry.revision }];
    this.tell(leader);
  }

  /** E3. */
  private doubt(): void {
    if (this.leader === undefined || this.parts.clock.monotonic() - this.confirmedAt < CONFIRMED_MS) return;
    // So that it is heard anew.
    this.since = undefined;
    this.tell(undefined);
  }

  private tell(leader: Leader | undefined): void {
    this.leader = leader;
    for (const listener of this.listeners) listener(leader);
  }
}

/** undefined: not understood. */
export function parseLeader(value: Buffer): Leader | undefined {
  return LeaderValue.safeParse(JSON.parse(value.toString())).data as Leader | undefined;
}
