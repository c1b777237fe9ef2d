/**
 * The worker's door: the role that carries tasks out on this machine. It takes offers, runs them within its slots and
 * its policy, and reports until it is answered; it decides nothing about the cluster.
 *
 * offers.ts checks what comes down, slots.ts and attempt.ts run it, outbox.ts and spool.ts bring the ends home,
 * heartbeat.ts shows that the node lives.
 */
import { mkdirSync, rmSync } from "node:fs";
import path from "node:path";
import type { ClusterId, NodeId } from "@openclaw-cluster/contract/ids";
import type { NodeFacts } from "@openclaw-cluster/contract/node";
import type { AttemptRef, Finished, Goodbye, Offer, Outcome } from "@openclaw-cluster/contract/wire";
import type { Bus, Subscription } from "../bus/bus.ts";
import { controlTo, offersTo } from "../bus/subjects.ts";
import type { PolicySource } from "../core/policy.ts";
import { STOP_MS, type Executors } from "../executors/executors.ts";
import type { Clock, Timer } from "../system/clock.ts";
import { failpoint } from "../system/failpoint.ts";
import type { Log } from "../system/log.ts";
import type { Attempt, EarlierLife, Surroundings } from "./attempt.ts";
import { DiskRoom } from "./disk-room.ts";
import { Heartbeat } from "./heartbeat.ts";
import { machineLoad, type MachineLoad } from "./load.ts";
import { Desk } from "./offers.ts";
import { Outbox } from "./outbox.ts";
import { Seen } from "./seen.ts";
import { Slots } from "./slots.ts";
import { Spool, spoolFile } from "./spool.ts";

export interface WorkerParts {
  readonly node: NodeId;
  readonly cluster: ClusterId;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Log;
  readonly executors: Executors;
  /** Slow facts; facts.ts gathers those of a real machine. */
  readonly facts: () => Promise<NodeFacts>;
  readonly policy: PolicySource;
  /** The spool and the attempts' folders lie in it. One worker a folder. */
  readonly folder: string;
  readonly slots: number;
  /** With less free disk than this the node takes no new work (disk-room.ts). */
  readonly diskFloorMiB: number;
  /** The coordinator asked this daemon to end; `now`: without time for what runs. */
  readonly onShutdown?: (now: boolean) => void;
  /** Fast facts; this machine's, unless a simulation has its own. */
  readonly load?: () => Promise<MachineLoad>;
  /** The file of that name on disk, unless a simulation keeps its own. */
  readonly openSpool?: typeof Spool.open;
}

export interface Worker {
  readonly running: number;
  /** Gathers the node's facts now: its Gateway came or went, its policy changed. */
  refreshFacts(): void;
  /** Does a coordinator that is obeyed answer this node? Where none does over a bus that stands, another may lead elsewhere. */
  readonly heard: boolean;
  onHeard(listener: (heard: boolean) => void): Subscription;
  /** The control nodes, or the bus, are elsewhere now. */
  onPlaces(listener: () => void): Subscription;
  /**
   * The machine is about to sleep: says goodbye, lets running attempts end for up to `graceMs`, stops the rest, and tells
   * it. Until `wake` nothing is taken. A machine that does not sleep after all wakes by itself after NAP_MS.
   */
  sleep(options: { graceMs: number }): Promise<void>;
  wake(): void;
  /** Says goodbye, waits for running attempts up to `graceMs`, then aborts them with "shutdown". */
  stop(options: { graceMs: number }): Promise<void>;
}

/** A result of a run this long, or with effects outside, is worth a write to disk; to repeat a shorter one costs less. */
const DURABLE_RUN_MS = 1_000;
/** After an abort an executor has STOP_MS, and the end of its output and folder some more. */
const ABORTED_MS = 2 * STOP_MS;
/** At the end the last results wait this long for an answer. What stays without one is in the spool. */
const LAST_REPORT_MS = 2_000;
/** By the monotonic clock, which stands still in a sleep. A machine that is up so long after its goodbye has not slept, or nobody told of the waking. */
const NAP_MS = 20_000;

export async function openWorker(parts: WorkerParts): Promise<Worker> {
  // Absolute: it marks the processes of its attempts, and must not mean another folder elsewhere.
  const attempts = path.resolve(parts.folder, "attempts");
  mkdirSync(parts.folder, { recursive: true, mode: 0o700 });
  for (const executor of parts.executors.values()) await executor.sweep?.(attempts, parts.log);
  rmSync(attempts, { recursive: true, force: true });
  const worker = new OpenWorker(parts, attempts);
  await worker.start();
  return worker;
}

class OpenWorker implements Worker, Surroundings {
  readonly cluster: ClusterId;
  readonly node: NodeId;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Log;
  readonly folder: string;
  private readonly executors: Executors;
  private readonly spool: Spool;
  private readonly outbox: Outbox;
  private readonly slots: Slots;
  private readonly seen: Seen;
  private readonly desk: Desk;
  private readonly heartbeat: Heartbeat;
  private readonly room: DiskRoom;
  private subscriptions: Subscription[] = [];
  private away: Goodbye | undefined;
  private nap: Timer | undefined;

  constructor(parts: WorkerParts, attempts: string) {
    const { node, cluster, bus, clock, log } = parts;
    [this.node, this.cluster, this.bus, this.clock, this.log, this.folder] = [node, cluster, bus, clock, log, attempts];
    this.executors = parts.executors;
    this.spool = (parts.openSpool ?? Spool.open)(spoolFile(parts.folder), cluster, clock.wall(), log);
    let said = 0;
    const count = (): number => ++said;
    this.outbox = new Outbox({ node, count, bus, clock, log, spool: this.spool, version: () => this.heartbeat.version });
    this.slots = new Slots(parts.slots, this);
    this.seen = new Seen(() => this.slots.held());
    this.room = new DiskRoom({ folder: parts.folder, floorMiB: parts.diskFloorMiB, log, changed: (isFull) => this.roomChanged(isFull) });
    this.spool.onNoRoom = () => this.noRoom();
    const load = parts.load ?? machineLoad(parts.folder);
    this.heartbeat = new Heartbeat({
      node,
      boot: this.spool.boot,
      count,
      bus,
      clock,
      log,
      load: async () => this.room.judge(await load()),
      facts: parts.facts,
      running: () => this.running,
      held: () => this.held(),
      admits: (epoch) => this.spool.admits(epoch),
      epoch: () => this.spool.epoch,
      stopAttempts: (refs) => this.desk.stop(refs),
      leaseLost: () => this.giveUp(),
    });
    this.desk = new Desk({
      ...parts,
      spool: this.spool,
      seen: this.seen,
      slots: this.slots,
      outbox: this.outbox,
      room: this.room,
      report: () => this.announce(),
      shutdown: (now) => parts.onShutdown?.(now),
      mayBegin: (heard) => this.heartbeat.mayBegin(heard),
      pause: (ms) => this.heartbeat.pause(ms),
    });
  }

  get leaving(): boolean {
    return this.away !== undefined;
  }

  get running(): number {
    return this.slots.runningCount;
  }

  async start(): Promise<void> {
    const { bus, node, desk } = this;
    this.takeUp();
    this.subscriptions = [
      bus.onStatus((connected) => connected && this.announce()),
      bus.subscribe(offersTo(node), ({ body, respond }) => {
        desk.offers(body);
        respond?.({});
      }),
      bus.subscribe(controlTo(node), ({ body }) => desk.control(body)),
    ];
    await this.heartbeat.start();
    this.log.info({ node, boot: this.spool.boot, slots: this.slots.total, kinds: [...this.executors.keys()] }, "worker open");
  }

  get heard(): boolean {
    return this.heartbeat.heard;
  }

  onHeard(listener: (heard: boolean) => void): Subscription {
    return this.heartbeat.onHeard(listener);
  }

  onPlaces(listener: () => void): Subscription {
    return this.heartbeat.onPlaces(listener);
  }

  refreshFacts(): void {
    void this.heartbeat.refreshFacts();
  }

  async sleep({ graceMs }: { graceMs: number }): Promise<void> {
    if (this.leaving) return;
    this.nap = this.clock.after(NAP_MS, () => this.wake());
    await this.leave("asleep", "sleep", graceMs);
  }

  wake(): void {
    if (this.away !== "asleep") return;
    this.nap?.cancel();
    this.away = undefined;
    this.desk.open();
    this.heartbeat.backAgain();
  }

  async stop({ graceMs }: { graceMs: number }): Promise<void> {
    this.nap?.cancel();
    await this.leave("offline", "shutdown", graceMs);
    for (const subscription of this.subscriptions) subscription.stop();
    this.heartbeat.stop();
    this.outbox.close();
    this.spool.close();
  }

  /** Hands everything over in good order. A waking, or a stop after all, ends it where it is. */
  private async leave(goodbye: Goodbye, cause: "shutdown" | "sleep", graceMs: number): Promise<void> {
    const isOver = (): boolean => this.away !== goodbye;
    this.away = goodbye;
    this.desk.close();
    this.handBack({ kind: "cancelled", cause });
    await this.heartbeat.goodbye(goodbye);
    const idle = await this.slots.whenIdle(graceMs);
    if (isOver()) return;
    if (!idle) {
      this.slots.abortAll(cause);
      if (!(await this.slots.whenIdle(ABORTED_MS))) this.log.error({ running: this.running }, "attempts did not stop in time");
    }
    if (this.bus.connected) await this.outbox.drain(LAST_REPORT_MS);
    if (!isOver()) await this.heartbeat.goodbye(goodbye);
  }

  started(attempt: Attempt): void {
    if (attempt.executor.resumable) this.spool.began(attempt.offer, attempt.startedAt);
    this.outbox.start(attempt);
  }

  progressed(attempt: Attempt): void {
    this.outbox.progress(attempt);
  }

  acted(attempt: Attempt): void {
    if (attempt.executor.resumable) this.spool.acted(attempt.ref);
    this.outbox.acted(attempt);
  }

  ended(attempt: Attempt, finished: Finished): void {
    if (!isWorthKeeping(attempt, finished)) return;
    failpoint("run.ended");
    this.spool.keep(finished);
    failpoint("run.kept");
  }

  finished(attempt: Attempt, finished: Finished, bytes: number): void {
    this.outbox.finish(finished, bytes, isWorthKeeping(attempt, finished));
  }

  released(attempt: Attempt): void {
    this.slots.released(attempt);
  }

  overdue(offer: Offer): void {
    this.desk.refuse(offer, "overloaded", "What runs before it on this node takes longer than was expected.");
  }

  noRoom(): void {
    if (this.room.isFull) return;
    this.room.missed();
    void this.heartbeat.beat();
  }

  /** What waits here goes to other nodes. What an earlier lack of room kept out of the spool gets into it. */
  private roomChanged(isFull: boolean): void {
    if (!isFull) return this.outbox.keepAgain();
    for (const offer of this.slots.dropWaiting()) this.desk.refuseForRoom(offer);
  }

  private *held(): Iterable<AttemptRef> {
    yield* this.slots.held();
    yield* this.outbox.unanswered();
  }

  private announce(): void {
    this.outbox.hurry();
    void this.heartbeat.announce();
  }

  /** What an earlier life of this worker left: results without a verdict, and attempts that went on without it. */
  private takeUp(): void {
    const results = this.spool.results();
    failpoint("take-up.begun");
    for (const { task, attempt } of results) this.seen.note(task, attempt);
    this.outbox.restore(results);
    for (const { offer, ...earlier } of this.spool.resumable()) {
      this.seen.note(offer.task, Math.max(offer.attempt, this.seen.last(offer.task)));
      const executor = this.executors.get(offer.spec.kind);
      if (executor?.resumable) this.slots.resume(offer, executor, earlier);
      else this.lose(offer, earlier);
    }
  }

  /** This life cannot carry the attempt out any more: its OpenClaw is gone. */
  private lose({ task, attempt, epoch }: AttemptRef, { startedAt, acted }: EarlierLife): void {
    const outcome = { kind: "cancelled" } as const;
    const finished: Finished = { task, attempt, epoch, startedAt, endedAt: this.clock.wall(), runMs: 0, ...(acted && { acted }), outcome };
    this.spool.keep(finished);
    this.outbox.finish(finished, 0, true);
  }

  /** Too long without the bus: the coordinator has given everything here to others, or is about to. */
  private giveUp(): void {
    this.handBack({ kind: "cancelled" });
    this.slots.abortAll("lease_lost");
  }

  /** What waits here for a slot never starts. */
  private handBack(outcome: Outcome): void {
    for (const { task, attempt, epoch } of this.slots.dropWaiting())
      this.outbox.finish({ task, attempt, epoch, endedAt: this.clock.wall(), runMs: 0, outcome }, 0, false);
  }
}

function isWorthKeeping(attempt: Attempt, finished: Finished): boolean {
  const { kind, onLost } = attempt.offer.spec;
  return kind !== "echo" || finished.runMs >= DURABLE_RUN_MS || onLost === "ask" || onLost === "fail";
}
