/**
 * A control node that shares its store with others: one of them leads at a time, the rest stand by, ready to.
 *
 * H1. The API, nats-server and the list of control nodes are there all the time; a coordinator, and its connection to the bus, only
 *     while this machine leads.
 * H2. A lead that is lost is left before the next try (Coordinator.abandon), without waiting for the store; nodes hear at most that they
 *     may go on (Coordinator.lastWord). One that is handed over says goodbye, commits, and is resigned last.
 * H3. Whatever ends a term but a stop of the daemon, ends the term and not the process: what runs on this machine goes on.
 */
import type { Role } from "../api/api.ts";
import type { Term } from "../store/leadership.ts";
import type { Store } from "../store/store.ts";
import type { Clock } from "../system/clock.ts";
import type { Log } from "../system/log.ts";
import { aborted, pause } from "../system/pause.ts";

/** After a term that ended with a fault, so that a machine that cannot lead leaves it to another. */
const AGAIN_MS = 2_000;
/** Another one is asked to lead; where none does, this one goes on. */
const STAND_BACK_MS = 10_000;

/** A term, and the store that was claimed for it. */
export interface Elected<S extends Store = Store> {
  readonly term: Term;
  readonly store: S;
}

export interface Led {
  readonly role: Role;
  /** `leads`: it does still, and may say goodbye. */
  end(leads: boolean): Promise<void>;
}

export interface SharedLeadParts<S extends Store = Store> {
  readonly clock: Clock;
  readonly log: Log;
  /** Resolves when this machine leads. */
  campaign(signal: AbortSignal): Promise<Elected<S>>;
  /** Resolves when requests can be answered. */
  begin(elected: Elected<S>, broken: (error: unknown) => void): Promise<Led>;
  /** Whoever answers from now on. */
  takeRole(role: Role): void;
  readonly standby: Role;
}

export class SharedLead<S extends Store = Store> {
  private readonly parts: SharedLeadParts<S>;
  private readonly leaving = new AbortController();
  /** Of the present term. */
  private yielding = Promise.withResolvers<void>();
  private standsBack = false;
  private readonly running: Promise<void>;

  constructor(parts: SharedLeadParts<S>) {
    this.parts = parts;
    this.running = this.run();
  }

  /** In good order: the next one leads within a moment. */
  async close(): Promise<void> {
    this.leaving.abort(new Error("this control node stops"));
    await this.running;
  }

  /** In good order too; and this one does not try to lead for a while. */
  handOver(): void {
    this.standsBack = true;
    this.yielding.resolve();
  }

  private async run(): Promise<void> {
    const { campaign, clock, log } = this.parts;
    const { signal } = this.leaving;
    while (!signal.aborted) {
      try {
        await this.serve(await campaign(signal));
        if (this.standsBack) await pause(clock, STAND_BACK_MS, signal);
      } catch (error) {
        if (signal.aborted) return;
        log.error({ err: error }, "this control node could not lead; it stands by");
        await pause(clock, AGAIN_MS, signal);
      }
    }
  }

  private async serve({ term, store }: Elected<S>): Promise<void> {
    const { takeRole, standby, log } = this.parts;
    const broken = Promise.withResolvers<unknown>();
    this.standsBack = false;
    this.yielding = Promise.withResolvers<void>();
    const ending = AbortSignal.any([term.over, this.leaving.signal]);
    // A claim whose answer was lost is learnt of late: its lease can be over by now.
    if (ending.aborted) {
      await store.close();
      return term.resign();
    }
    const lead = await this.parts.begin({ term, store }, broken.resolve).catch(async (error: unknown) => {
      await term.resign();
      throw error;
    });
    if (!ending.aborted) {
      takeRole(lead.role);
      log.info({ epoch: term.claim.epoch }, "this control node leads");
    }
    const fault = await Promise.race([aborted(ending), this.yielding.promise, broken.promise]);
    const leads = fault === undefined && !term.over.aborted;
    takeRole(standby);
    await lead.end(leads);
    await term.resign();
    if (fault !== undefined) throw fault;
  }
}
