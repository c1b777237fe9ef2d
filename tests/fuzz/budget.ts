/**
 * How long a campaign goes on, and what it may leave behind by then.
 *
 * B1. By count a seed gives the same campaign on every machine, however busy that is: so in `npm test`. By time it goes as far as it
 *     comes: so in `npm run fuzz`, which prints its seed.
 * B2. A log grows by the minute and not by the message, memory with neither: both are judged in every campaign, the longest most strictly.
 */
import { SPARING } from "../../cluster/src/system/sparing-log.ts";
import type { Counted } from "./counting-log.ts";

export interface Budget {
  readonly seed: number;
  /** Asked with what was done: rounds, or messages. */
  goesOn(done: number): boolean;
}

export const byCount = (seed: number, count: number): Budget => ({ seed, goesOn: (done) => done < count });

export function byTime(seed: number, ms: number, now: () => number = () => performance.now()): Budget {
  const endAt = now() + ms;
  return { seed, goesOn: () => now() < endAt };
}

/** Lines of an honest life: its start and end, a backup, a task that fails. */
const LINES_OWN_MAX = 50;
/** One line holds a stack and a complaint, and nothing of what was sent. */
const LINE_CHARS_MAX = 4_000;
/** What a campaign leaves in memory besides what it was given to keep: nodes, tasks, the last output. */
const GROWTH_MIB_MAX = 32;
/** Messages that a fault names. */
const SHOWN = 5;
const MINUTE_MS = 60_000;

export interface Leavings {
  readonly logged: Counted;
  /** Those about whom somebody complains, each by itself. */
  readonly parties: number;
  /** By the clock of those who complain. */
  readonly passedMs: number;
  readonly grownMiB: number;
  /** Acts that somebody was allowed to do: each is worth a line. */
  readonly acts?: number;
}

/** Those that have begun: a limit is for each of them. */
export const minutesOf = (ms: number): number => Math.floor(ms / MINUTE_MS) + 1;

/** B2. What there is too much of. */
export function tooMuch({ logged, parties, passedMs, grownMiB, acts = 0 }: Leavings): string[] {
  const minutes = minutesOf(passedMs);
  const linesMax = parties * SPARING.linesMax * minutes + acts + LINES_OWN_MAX;
  return [
    ...(logged.lines > linesMax
      ? [`${logged.lines} lines in the log in ${minutes} min, of which ${linesMax} are allowed: ${most(logged)}`]
      : []),
    ...(logged.longestChars > LINE_CHARS_MAX ? [`a line of ${logged.longestChars} characters in the log: ${logged.longest}`] : []),
    ...(grownMiB > GROWTH_MIB_MAX ? [`${grownMiB.toFixed(1)} MiB more are held than before`] : []),
  ];
}

function most({ said }: Counted): string {
  const all = [...said].toSorted(([, a], [, b]) => b - a).slice(0, SHOWN);
  return all.map(([message, count]) => `${count} × ${message}`).join("; ");
}
