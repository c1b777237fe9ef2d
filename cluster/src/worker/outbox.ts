/**
 * The worker's news for the coordinator: what started, came on, or ended in one turn of the event loop becomes one
 * report, and a report that is not answered is sent again.
 *
 * B1. A finished attempt stays here until an answer names a verdict on it (W2), whatever the bus does, and whatever a
 *     coordinator says that was replaced.
 * B2. An attempt that started and ended since the last report is told once, by its end.
 * B3. No report is larger than one message may be, and few are under way at once; while answers fail, only one.
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { ReportReply, type AttemptRef, type Finished, type Report } from "@openclaw-cluster/contract/wire";
import type { Bus } from "../bus/bus.ts";
import { reportFrom } from "../bus/subjects.ts";
import { inWordsOf } from "../core/older-words.ts";
import type { Clock, Timer } from "../system/clock.ts";
import { failpoint } from "../system/failpoint.ts";
import type { Log } from "../system/log.ts";
import { sprawls } from "../system/sprawl.ts";
import type { Attempt } from "./attempt.ts";
import { Fifo } from "./fifo.ts";
import type { Spool } from "./spool.ts";

const FINISHED_MAX = 1_000;
/** Started and progressed entries of a report, each. */
const NEWS_MAX = 1_000;
/** Of finished attempts; a single one may be larger. What is in one report is sent again as a whole, so more is no gain. */
const FINISHED_BYTES_MAX = 256 * 1024;
/** What stands around an outcome in a report. */
const ENTRY_BYTES = 192;
const IN_FLIGHT_MAX = 8;
/** Once it has left: a second and a half each way on a slow line that is full, and a commit. */
const ANSWER_MS = 5_000;
const AGAIN_MS = 500;
/** Progress waits this long for more of it; people read it. */
const PROGRESS_MS = 200;

interface Entry {
  readonly finished: Finished;
  readonly bytes: number;
  /** It is in the spool, if the disk had room. */
  readonly durable: boolean;
}

interface Flight {
  readonly started: readonly Attempt[];
  readonly progressed: readonly Attempt[];
  readonly finished: readonly Entry[];
}

export interface OutboxParts {
  readonly node: NodeId;
  /** The number of the next message of this life. */
  count(): number;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Log;
  readonly spool: Spool;
  /** Of the protocol, as it is spoken with whoever leads. */
  version(): number;
}

export class Outbox {
  private readonly parts: OutboxParts;
  private readonly subject: string;
  private started = new Set<Attempt>();
  private progressed = new Set<Attempt>();
  private readonly finished = new Fifo<Entry>();
  private readonly flights = new Set<Flight>();
  private due = false;
  private gathering = false;
  private again: Timer | undefined;
  private readonly drained = new Set<() => void>();

  constructor(parts: OutboxParts) {
    this.parts = parts;
    this.subject = reportFrom(parts.node);
  }

  /** Results of an earlier life. */
  restore(results: readonly Finished[]): void {
    for (const finished of results) this.finished.add({ finished, bytes: Buffer.byteLength(JSON.stringify(finished)), durable: true });
    this.touch();
  }

  start(attempt: Attempt): void {
    this.started.add(attempt);
    this.touch();
  }

  progress(attempt: Attempt): void {
    this.progressed.add(attempt);
    if (this.gathering) return;
    this.gathering = true;
    this.parts.clock.after(PROGRESS_MS, () => {
      this.gathering = false;
      this.touch();
    });
  }

  /** Told at once: from now on a replay could do harm. */
  acted(attempt: Attempt): void {
    this.progressed.add(attempt);
    this.touch();
  }

  /** `durable`: it is in the spool, and goes from there with its verdict. */
  finish(finished: Finished, bytes: number, durable: boolean): void {
    this.finished.add({ finished, bytes: bytes + ENTRY_BYTES, durable });
    this.touch();
  }

  /** Everything without a verdict. */
  *unanswered(): Iterable<AttemptRef> {
    for (const flight of this.flights) for (const { finished } of flight.finished) yield refOf(finished);
    for (const { finished } of this.finished) yield refOf(finished);
  }

  /** Into the spool once more: there was no room for some of them. */
  keepAgain(): void {
    const inFlight = [...this.flights].flatMap(({ finished }) => finished);
    for (const { finished, durable } of [...inFlight, ...this.finished]) if (durable) this.parts.spool.keep(finished);
  }

  /** Reports what there is at the end of this turn, or when a report comes back. */
  touch(): void {
    if (this.due) return;
    this.due = true;
    this.parts.clock.soon(() => {
      this.due = false;
      this.flush();
    });
  }

  /** The bus is back, or the coordinator asks: whatever waited for a pause goes now. */
  hurry(): void {
    this.again?.cancel();
    this.again = undefined;
    this.touch();
  }

  /** Resolves when every finished attempt has its verdict, or after `ms`. */
  async drain(ms: number): Promise<void> {
    if (this.finished.size === 0 && this.flights.size === 0) return;
    const done = Promise.withResolvers<void>();
    this.drained.add(done.resolve);
    const timer = this.parts.clock.after(ms, done.resolve);
    this.hurry();
    await done.promise;
    timer.cancel();
    this.drained.delete(done.resolve);
  }

  close(): void {
    this.again?.cancel();
  }

  private flush(): void {
    if (!this.parts.bus.connected) return;
    while (this.flights.size < (this.again === undefined ? IN_FLIGHT_MAX : 0)) {
      const flight = this.take();
      if (flight === undefined) break;
      this.flights.add(flight);
      void this.send(flight);
    }
    if (this.finished.size === 0 && this.flights.size === 0) for (const resolve of this.drained) resolve();
  }

  private take(): Flight | undefined {
    const finished: Entry[] = [];
    for (let bytes = 0; finished.length < FINISHED_MAX;) {
      const next = this.finished.peek();
      if (next === undefined || (finished.length > 0 && bytes + next.bytes > FINISHED_BYTES_MAX)) break;
      bytes += next.bytes;
      finished.push(next);
      this.finished.take();
    }
    const started = takeRunning(this.started);
    const progressed = takeRunning(this.progressed);
    return finished.length + started.length + progressed.length === 0 ? undefined : { finished, started, progressed };
  }

  /** Never rejects. */
  private async send(flight: Flight): Promise<void> {
    const { bus, log, spool } = this.parts;
    const report: Report = {
      boot: spool.boot,
      n: this.parts.count(),
      started: flight.started.map((one) => ({ ...one.ref, at: one.startedAt })),
      progressed: flight.progressed.map((one) => ({
        ...one.ref,
        ...(one.latest && { progress: one.latest }),
        ...(one.hasActed && { acted: true }),
      })),
      finished: flight.finished.map((one) => inWordsOf(this.parts.version(), one.finished)),
    };
    try {
      const body = await bus.deliver(this.subject, report, ANSWER_MS);
      if (sprawls(body)) throw new Error("the answer to a report is none");
      const reply = ReportReply.parse(body);
      if (reply.verdicts.length !== flight.finished.length)
        throw new Error(`${reply.verdicts.length} verdicts on ${flight.finished.length} results`);
      // One that was replaced and does not know it yet calls stale what its successor waits for.
      if (!spool.admits(reply.epoch)) throw new Error(`the coordinator of epoch ${reply.epoch} was replaced`);
    } catch (error) {
      log.debug({ err: error, finished: flight.finished.length }, "a report was not answered; it is sent again");
      this.flights.delete(flight);
      this.putBack(flight);
      return;
    }
    this.flights.delete(flight);
    const durable = flight.finished.filter((one) => one.durable).map((one) => one.finished);
    if (durable.length > 0) {
      failpoint("report.heard");
      spool.forget(durable);
      failpoint("report.forgotten");
    }
    this.touch();
  }

  private putBack(flight: Flight): void {
    this.finished.putBack(flight.finished);
    for (const attempt of flight.started) this.started.add(attempt);
    for (const attempt of flight.progressed) this.progressed.add(attempt);
    this.again ??= this.parts.clock.after(AGAIN_MS, () => this.hurry());
  }
}

/** Takes at most NEWS_MAX out of the set, and drops those that are over: their end tells all (B2). */
function takeRunning(set: Set<Attempt>): Attempt[] {
  const taken: Attempt[] = [];
  for (const attempt of set) {
    if (taken.length === NEWS_MAX) break;
    set.delete(attempt);
    if (!attempt.over) taken.push(attempt);
  }
  return taken;
}

function refOf({ task, attempt, epoch }: Finished): AttemptRef {
  return { task, attempt, epoch };
}
