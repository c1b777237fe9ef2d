/**
 * Old revisions are forgotten at a steady pace, so that etcd's database does not grow with every change. What was there when the
 * pace's last beat came is kept: whoever reads at a revision, here or elsewhere, has at least that long, and a backup as long as
 * it takes.
 */
import type { Timer } from "../system/clock.ts";
import { EtcdFault } from "./etcd-client.ts";
import type { Place } from "./etcd-place.ts";

export const COMPACT_MS = 60_000;

export class Compaction {
  private readonly place: Place;
  private readonly held = new Set<number>();
  private timer: Timer | undefined;
  /** The newest revision that a fold has made. */
  private newest = 0;
  private atLastBeat = 0;
  private done = 0;

  constructor(place: Place) {
    this.place = place;
  }

  /** A fold has ended with this revision. */
  note(revision: number): void {
    this.newest = Math.max(this.newest, revision);
    this.timer ??= this.place.clock.after(COMPACT_MS, () => void this.beat());
  }

  /** The revision stays readable while the work lasts. */
  async holding<T>(revision: number, work: () => Promise<T>): Promise<T> {
    this.held.add(revision);
    try {
      return await work();
    } finally {
      this.held.delete(revision);
    }
  }

  stop(): void {
    this.timer?.cancel();
    this.timer = undefined;
    this.newest = 0;
  }

  private async beat(): Promise<void> {
    const { client, log, clock } = this.place;
    const upTo = Math.min(this.atLastBeat, ...this.held);
    this.atLastBeat = this.newest;
    try {
      if (upTo > this.done) await client.compact(upTo);
      this.done = Math.max(this.done, upTo);
    } catch (error) {
      if (!(error instanceof EtcdFault)) throw error;
      // Somebody else has compacted further, which is as good; anything else is tried again at the next beat.
      if (error.kind !== "compacted") log.warn({ err: error }, "etcd's old revisions could not be compacted; it is tried again");
    }
    // Without anything new there is nothing to forget: the next fold starts it again.
    const isIdle = this.newest === this.atLastBeat && this.done >= this.newest;
    this.timer = this.newest === 0 || isIdle ? undefined : clock.after(COMPACT_MS, () => void this.beat());
  }
}
