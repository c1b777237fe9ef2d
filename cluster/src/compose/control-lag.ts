/**
 * How far the control nodes are behind, in ms of this machine's own clock. Between two words of a control node its lag is what it was
 * at the last one; one that says nothing though there is something new is behind by all that time.
 *
 * L1. Never less than the truth as this machine can know it; more by STEP_MS and the word's own way at most.
 */
import { PROGRESS_MS } from "../store/control-progress.ts";

/** The times of entries that come faster than this are kept as one. */
const STEP_MS = 50;
/** Times that are kept: more than a minute and a half of constant work. Beyond them a lag is only known to be at least so long. */
const TIMES_MAX = 2_048;
/** Words come each PROGRESS_MS while there is something new. */
const SILENT_MS = 3 * PROGRESS_MS;

interface Time {
  readonly entry: number;
  readonly at: number;
}

interface Word extends Time {
  readonly lagMs: number;
}

export class ControlLag {
  private readonly times: Time[] = [];
  private readonly words = new Map<string, Word>();
  private newest = 0;

  /** The newest entry of the log, as it is heard here. */
  wrote(entry: number, now: number): void {
    if (entry <= this.newest) return;
    this.newest = entry;
    const last = this.times.at(-1);
    if (last !== undefined && now - last.at < STEP_MS) return;
    this.times.push({ entry, at: now });
    if (this.times.length > TIMES_MAX) this.times.shift();
  }

  /** A control node says that it has applied the log up to this entry. */
  said(node: string, entry: number, now: number): void {
    this.words.set(node, { entry, at: now, lagMs: this.behind(entry, now) });
  }

  /** undefined: it was never heard. */
  of(node: string, now: number): number | undefined {
    const word = this.words.get(node);
    if (word === undefined) return undefined;
    const behind = this.behind(word.entry, now);
    return behind === 0 || now - word.at > SILENT_MS ? behind : word.lagMs;
  }

  /** Since when there is something that it has not applied. */
  private behind(entry: number, now: number): number {
    if (entry >= this.newest) return 0;
    const since = this.times.findLast((time) => time.entry <= entry + 1) ?? this.times[0];
    return Math.max(0, now - (since?.at ?? now));
  }
}
