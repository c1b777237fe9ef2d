/**
 * Whether what was sampled is that of a cluster in a steady state. Pure.
 *
 * V1. A life is a process from its start to its end. What grows within lives counts; that a new life begins smaller does not.
 *     All lives of a part share one slope, and each has a height of its own.
 * V2. Memory counts in the last two thirds of the run, and after a life's first WARM_MS: code is compiled and heaps find their size before.
 * V3. Descriptors and threads are compared at rest, where whoever leaks one shows it exactly.
 */
import type { Sample } from "./samples.ts";

/** Above it memory leaks. A steady coordinator's heap breathes by more than that, but not for hours in one direction. */
export const RSS_MIB_PER_HOUR_MAX = 24;
/** So much the heap of a steady process rises and falls by itself; a shorter run is allowed this within what it saw. */
export const RSS_BREATH_MIB = 16;
export const WARM_MS = 120_000;
/** Of a shorter time nothing is said. */
const SEEN_MS_MIN = 60_000;
/** Between rests: a log file or a stream's file more. */
export const FDS_GROWTH_MAX = 4;
export const THREADS_GROWTH_MAX = 4;
/** Rests whose median counts at each end. */
const RESTS = 3;
const HOUR_MS = 3_600_000;

export interface PartVerdict {
  readonly part: string;
  readonly lives: number;
  readonly rssMiB: number;
  /** undefined: no life was seen for long enough. */
  readonly slope: { readonly mibPerHour: number; readonly limit: number } | undefined;
  /** At the first rests and the last ones of the life that changed most. */
  readonly fds: readonly [first: number, last: number] | undefined;
  readonly threads: readonly [first: number, last: number] | undefined;
  readonly problems: readonly string[];
}

interface Point {
  readonly atMs: number;
  readonly atRest: boolean;
  readonly pid: number;
  readonly rssMiB: number;
  readonly fds: number;
  readonly threads: number;
}

export function judgeParts(samples: readonly Sample[]): PartVerdict[] {
  const endMs = samples.at(-1)?.atMs ?? 0;
  const points = samples.flatMap(({ atMs, atRest, parts }) => parts.map((one) => ({ ...one, atMs, atRest })));
  return [...Map.groupBy(points, ({ part }) => part)].map(([part, its]) => judgePart(part, its, endMs / 3));
}

function judgePart(part: string, points: readonly Point[], fromMs: number): PartVerdict {
  const lives = [...Map.groupBy(points, ({ pid }) => pid).values()];
  const slope = slopeOf(lives.map((life) => settled(life, fromMs)));
  const fds = mostGrown(lives, ({ fds: count }) => count);
  const threads = mostGrown(lives, ({ threads: count }) => count);
  const problems: string[] = [];
  if (slope !== undefined && slope.mibPerHour > slope.limit)
    problems.push(`${part}: memory grows by ${slope.mibPerHour.toFixed(1)} MiB/h, more than ${slope.limit.toFixed(0)}`);
  for (const [what, ends, max] of [["descriptors", fds, FDS_GROWTH_MAX] as const, ["threads", threads, THREADS_GROWTH_MAX] as const])
    if (ends !== undefined && ends[1] - ends[0] > max) problems.push(`${part}: ${what} grew from ${ends[0]} to ${ends[1]} at rest`);
  return { part, lives: lives.length, rssMiB: points.at(-1)?.rssMiB ?? Number.NaN, slope, fds, threads, problems };
}

/** V2. */
function settled(life: readonly Point[], fromMs: number): Point[] {
  const warmAt = Math.max(fromMs, (life[0]?.atMs ?? 0) + WARM_MS);
  return life.filter(({ atMs }) => atMs >= warmAt);
}

/** Least squares over all lives (V1). */
function slopeOf(lives: readonly (readonly Point[])[]): PartVerdict["slope"] {
  let [seenMs, over, under] = [0, 0, 0];
  for (const life of lives) {
    const [meanAt, mean] = [average(life.map(({ atMs }) => atMs)), average(life.map((one) => one.rssMiB))];
    for (const { atMs, rssMiB } of life) {
      over += (atMs - meanAt) * (rssMiB - mean);
      under += (atMs - meanAt) ** 2;
    }
    seenMs += (life.at(-1)?.atMs ?? 0) - (life[0]?.atMs ?? 0);
  }
  if (seenMs < SEEN_MS_MIN) return undefined;
  const limit = Math.max(RSS_MIB_PER_HOUR_MAX, RSS_BREATH_MIB / (seenMs / HOUR_MS));
  return { mibPerHour: (over / under) * HOUR_MS, limit };
}

/** V3. */
function mostGrown(lives: readonly (readonly Point[])[], of: (point: Point) => number): readonly [number, number] | undefined {
  const ends = lives.flatMap((life): (readonly [number, number])[] => {
    const rests = life.filter(({ atRest }) => atRest).map(of);
    const count = Math.min(RESTS, Math.floor(rests.length / 2));
    return count === 0 ? [] : [[median(rests.slice(0, count)), median(rests.slice(-count))]];
  });
  return ends.toSorted((a, b) => b[1] - b[0] - (a[1] - a[0]))[0];
}

function average(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)] ?? Number.NaN;
}
