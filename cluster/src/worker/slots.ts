/**
 * What runs and what waits on this node. Offers ahead of free slots wait in the order in which they came; an attempt
 * takes as many slots as its task asks for.
 *
 * S1. Never more slots in use than there are.
 * S2. First come, first started: a wide task is not overtaken for ever by narrow ones.
 * S3. Everything held here ends in `finished`, is dropped by `drop`, whose caller tells the coordinator, or goes back as
 *     `overdue`: whoever gave it ahead of the slots took what runs before it for short.
 */
import type { TaskId } from "@openclaw-cluster/contract/ids";
import type { AttemptRef, Offer } from "@openclaw-cluster/contract/wire";
import { demand } from "../core/task.ts";
import type { AbortCause, Executor } from "../executors/executors.ts";
import type { Clock } from "../system/clock.ts";
import { Attempt, WATCH_MS, type EarlierLife, type Surroundings } from "./attempt.ts";
import { Fifo } from "./fifo.ts";

/** What is given ahead should start within some 16 ms (window.ts); after this long the guess was wrong. */
const WAIT_MAX_MS = 2_000;

interface Waiting {
  /** By the monotonic clock. */
  readonly since: number;
  readonly offer: Offer;
  readonly executor: Executor;
}

export class Slots {
  readonly total: number;
  private readonly clock: Clock;
  private readonly home: Surroundings;
  private readonly running = new Set<Attempt>();
  private readonly waiting = new Fifo<Waiting>();
  private used = 0;
  private watching = false;
  private readonly idle = new Set<() => void>();

  constructor(total: number, home: Surroundings) {
    this.total = total;
    this.home = home;
    this.clock = home.clock;
  }

  get runningCount(): number {
    return this.running.size;
  }

  get waitingCount(): number {
    return this.waiting.size;
  }

  /** Starts it, or lets it wait. */
  add(offer: Offer, executor: Executor): void {
    this.waiting.add({ since: this.clock.monotonic(), offer, executor });
    this.fill();
  }

  /** Goes on with an attempt of an earlier life, ahead of everything else and whatever is free: it runs already. */
  resume(offer: Offer, executor: Executor, earlier: EarlierLife): void {
    this.run(new Attempt(this.home, offer, executor, earlier));
  }

  find(ref: AttemptRef): Attempt | undefined {
    for (const attempt of this.running) if (attempt.offer.task === ref.task && attempt.offer.attempt === ref.attempt) return attempt;
    return undefined;
  }

  /** Attempts of the task that run, whatever their number. */
  ofTask(task: TaskId): Attempt[] {
    return [...this.running].filter((attempt) => attempt.offer.task === task);
  }

  /** Takes a waiting offer back out. */
  drop(ref: AttemptRef): boolean {
    return this.waiting.remove(({ offer }) => offer.task === ref.task && offer.attempt === ref.attempt) !== undefined;
  }

  dropWaiting(): Offer[] {
    return this.waiting.takeAll().map(({ offer }) => offer);
  }

  abortAll(cause: AbortCause): void {
    for (const attempt of this.running) attempt.abort(cause);
  }

  released(attempt: Attempt): void {
    this.running.delete(attempt);
    this.used -= demand(attempt.offer.spec).slots;
    this.fill();
    if (this.running.size === 0) for (const resolve of this.idle) resolve();
  }

  /** Running and waiting. */
  *held(): Iterable<AttemptRef> {
    for (const attempt of this.running) yield attempt.ref;
    for (const { offer } of this.waiting) yield { task: offer.task, attempt: offer.attempt, epoch: offer.epoch };
  }

  /** True when nothing runs any more, within `ms`. */
  async whenIdle(ms: number): Promise<boolean> {
    if (this.running.size === 0) return true;
    const done = Promise.withResolvers<void>();
    this.idle.add(done.resolve);
    const timer = this.clock.after(ms, done.resolve);
    await done.promise;
    timer.cancel();
    this.idle.delete(done.resolve);
    return this.running.size === 0;
  }

  private fill(): void {
    for (let next = this.waiting.peek(); next !== undefined; next = this.waiting.peek()) {
      if (this.used + demand(next.offer.spec).slots > this.total) return;
      this.waiting.take();
      this.run(new Attempt(this.home, next.offer, next.executor));
    }
  }

  private run(attempt: Attempt): void {
    this.running.add(attempt);
    this.used += demand(attempt.offer.spec).slots;
    attempt.start();
    this.home.started(attempt);
    this.watch();
  }

  private handBack(before: number): void {
    for (let next = this.waiting.peek(); next !== undefined && next.since < before; next = this.waiting.peek()) {
      this.waiting.take();
      this.home.overdue(next.offer);
    }
  }

  private watch(): void {
    if (this.watching) return;
    this.watching = true;
    this.clock.after(WATCH_MS, () => {
      this.watching = false;
      const now = this.clock.monotonic();
      for (const attempt of this.running) attempt.check(now);
      this.handBack(now - WAIT_MAX_MS);
      if (this.running.size > 0) this.watch();
    });
  }
}
