/**
 * How good a node is for a task: the terms of the score, each 0…1. Only those that the task gives a reason for are
 * computed. `spread` and `retry` count against a node.
 *
 * V1. A term is the same number whether it is summed (for every candidate) or kept (for the best few).
 */
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { Term } from "@openclaw-cluster/contract/placement";
import type { TaskRecord } from "../task.ts";
import type { Siblings, StickyKeys } from "./company.ts";
import type { Fit } from "./fits.ts";
import type { History } from "./history.ts";
import type { Member } from "./member.ts";
import type { Shape } from "./shape.ts";
import { WEIGHTS } from "./weights.ts";

export type Terms = Partial<Record<Term, number>>;
/** What ranking must know of a task. */
export type Ranking = Pick<TaskRecord, "key" | "spec" | "attempt" | "failures" | "losses" | "lastFailure" | "placement">;

/** Offer, acceptance and result take about this long, so differences far below it mean nothing. */
const DISPATCH_MS = 1;

/** One decision's point of view; a single one is used again and again. */
export class Scene {
  task!: Ranking;
  shape!: Shape;
  /** Decisions made so far, this one included. */
  turn = 0;
  random: () => number = () => 0;
  private stuckTo: NodeId | undefined;
  /** Where the task's last attempt failed: whatever the strategy, that node comes last (D3 in choose.ts). */
  failedOn: NodeId | undefined;
  private spreadKey: string | undefined;
  private bestEtaMs = 0;
  private readonly history: History;
  private readonly sticky: StickyKeys;
  private readonly siblings: Siblings;

  constructor(history: History, sticky: StickyKeys, siblings: Siblings) {
    this.history = history;
    this.sticky = sticky;
    this.siblings = siblings;
  }

  set(task: Ranking, shape: Shape): void {
    const { prefer } = task.spec;
    this.task = task;
    this.shape = shape;
    this.stuckTo = prefer?.sticky === undefined ? undefined : this.sticky.last(prefer.sticky);
    this.spreadKey = prefer?.spread;
    const failed = task.attempt > 0 && task.failures + task.losses > 0;
    this.failedOn = task.lastFailure?.node ?? (failed ? task.placement?.node : undefined);
  }

  /** Before balanced scores are asked for. */
  compare(candidates: readonly Fit[]): void {
    let best = Infinity;
    for (const { member } of candidates) best = Math.min(best, this.etaMs(member));
    this.bestEtaMs = best;
  }

  balanced({ member, affinity, scarce }: Fit): number {
    let score =
      WEIGHTS.eta * this.eta(member) +
      WEIGHTS.room * this.room(member) +
      WEIGHTS.load * this.load(member) +
      WEIGHTS.scarce * this.scarcity(member, scarce) +
      WEIGHTS.trust * this.trust(member);
    if (this.shape.wishes.length > 0) score += WEIGHTS.affinity * affinity;
    if (this.stuckTo !== undefined) score += WEIGHTS.sticky * this.stickiness(member);
    if (this.spreadKey !== undefined) score += WEIGHTS.spread * this.spread(member, this.spreadKey);
    if (this.failedOn !== undefined) score += WEIGHTS.retry * this.retry(member);
    return score;
  }

  balancedTerms({ member, affinity, scarce }: Fit): Terms {
    const terms: Terms = {
      eta: round(this.eta(member)),
      room: round(this.room(member)),
      load: round(this.load(member)),
      scarce: round(this.scarcity(member, scarce)),
      trust: round(this.trust(member)),
    };
    if (this.shape.wishes.length > 0) terms.affinity = round(affinity);
    if (this.stuckTo !== undefined) terms.sticky = this.stickiness(member);
    if (this.spreadKey !== undefined) terms.spread = round(this.spread(member, this.spreadKey));
    return this.withRetry(member, terms);
  }

  /** Any strategy's terms, and what came before all of them. */
  withRetry(member: Member, terms: Terms): Terms {
    if (this.failedOn !== undefined) terms.retry = this.retry(member);
    return terms;
  }

  /** Free share after placement, of slots or memory, whichever is less. */
  room(member: Member): number {
    const { slots, memoryMiB } = this.shape;
    const free = 1 - (member.leased + slots) / member.capacity(this.shape);
    return memoryMiB === 0 ? free : Math.min(free, 1 - (member.memoryMiB + memoryMiB) / member.memoryMaxMiB);
  }

  stickiness(member: Member): number {
    return member.id === this.stuckTo ? 1 : 0;
  }

  /** What is rare on a node is only missed by others once the node is full: one slot of four is a quarter of the harm. */
  private scarcity(member: Member, used: number): number {
    return 1 - (1 - used) * (1 - this.room(member));
  }

  private eta(member: Member): number {
    return this.bestEtaMs / this.etaMs(member);
  }

  /**
   * Expected time to the result: a turn behind what was given ahead (only short work waits on a node), then the run, which
   * takes longer beside others: a full node is taken to be half as fast. (Turns of one Gateway share one thread.)
   */
  private etaMs(member: Member): number {
    const beside = Math.min(1, member.leased / member.slots);
    const runMs = this.history.expectedRunMs(member.history, this.shape.kindIndex) * (1 + beside);
    const over = member.leased + this.shape.slots - member.slots;
    const waitMs = over <= 0 ? 0 : (over / Math.max(1, member.slots - member.longSlots)) * runMs;
    return waitMs + runMs + DISPATCH_MS;
  }

  private load(member: Member): number {
    return 1 - member.cpu;
  }

  private trust(member: Member): number {
    return member.history.trust[this.shape.kindIndex] as number;
  }

  private spread(member: Member, key: string): number {
    return this.siblings.share(key, member.id);
  }

  private retry(member: Member): number {
    return member.id === this.failedOn ? 1 : 0;
  }
}

/** Two digits: enough to see why, and small to keep. */
export function round(term: number): number {
  return Math.round(term * 100) / 100;
}
