/** What `npm run soak` makes of its samples (scripts/soak/verdict.ts): leaks of each kind, planted, and what only looks like one. */
import { expect, test } from "vitest";
import type { PartSample, Sample } from "../scripts/soak/samples.ts";
import { FDS_GROWTH_MAX, judgeParts, RSS_BREATH_MIB, RSS_MIB_PER_HOUR_MAX, THREADS_GROWTH_MAX } from "../scripts/soak/verdict.ts";

const MINUTE_MS = 60_000;
const STEP_MS = 10_000;
/** A rest each minute. */
const REST_EVERY = 6;
const sizes = { databaseMiB: 1, walMiB: 1, streamsMiB: 1 };

/** One part, for so many minutes, as it is at each moment. */
function run(minutes: number, at: (minute: number, n: number) => Partial<PartSample>): Sample[] {
  return Array.from({ length: (minutes * MINUTE_MS) / STEP_MS }, (_, n): Sample => {
    const atMs = n * STEP_MS;
    const part = { part: "one", pid: 1, rssMiB: 150, fds: 31, threads: 11, ...at(atMs / MINUTE_MS, n) };
    return { atMs, atRest: n % REST_EVERY === 0, parts: [part], sizes };
  });
}
const problems = (samples: readonly Sample[]): readonly string[] => judgeParts(samples).flatMap((verdict) => verdict.problems);
/** As a heap breathes: up for some minutes, then down at once. */
const breath = (minute: number): number => (minute % 7) * 3;
const perMinute = (mibPerHour: number): number => mibPerHour / 60;

test("an hour of a steady process, that breathes, grows while it warms up, and does more at some times than at others", () => {
  const steady = run(60, (minute, n) => ({
    rssMiB: 150 + breath(minute) + 40 * Math.min(1, minute / 15),
    fds: n % REST_EVERY === 0 ? 31 : 31 + (n % 5) * 3,
  }));
  expect(problems(steady)).toEqual([]);
  expect(judgeParts(steady)).toMatchObject([
    { part: "one", lives: 1, fds: [31, 31], threads: [11, 11], slope: { limit: expect.closeTo(RSS_MIB_PER_HOUR_MAX, 0) } },
  ]);
});

test("memory that grows without an end, beneath the breath", () => {
  const leak = 2 * RSS_MIB_PER_HOUR_MAX;
  const [verdict] = judgeParts(run(60, (minute) => ({ rssMiB: 150 + breath(minute) + perMinute(leak) * minute })));
  expect(verdict?.problems).toEqual([expect.stringMatching(/one: memory grows by 4\d\.\d MiB\/h, more than 24/)]);
});

test("a short run sees large leaks only, and says so", () => {
  const slow = run(10, (minute) => ({ rssMiB: 150 + perMinute(100) * minute }));
  expect(problems(slow)).toEqual([]);
  expect(judgeParts(slow)[0]?.slope?.limit).toBeCloseTo(RSS_BREATH_MIB / (6.5 / 60), -1);
  expect(problems(run(10, (minute) => ({ rssMiB: 150 + perMinute(400) * minute })))).toHaveLength(1);
  expect(judgeParts(run(2, () => ({})))).toMatchObject([{ slope: undefined }]);
});

test("lives that begin small again hide no leak, and make none", () => {
  const lives = (rssMiB: (minute: number) => number): Sample[] =>
    run(60, (minute) => ({ pid: 1 + Math.floor(minute / 12), rssMiB: rssMiB(minute % 12) }));
  expect(judgeParts(lives((age) => 150 + perMinute(200) * age))).toMatchObject([
    { lives: 5, slope: { mibPerHour: expect.closeTo(200, 0) }, problems: [expect.stringContaining("memory")] },
  ]);
  expect(problems(lives((age) => 120 + 50 * Math.min(1, age / 2)))).toEqual([]);
});

test.each([
  ["descriptors", "fds", 31, FDS_GROWTH_MAX],
  ["threads", "threads", 11, THREADS_GROWTH_MAX],
] as const)("%s that grow at rest; one more now and then is none", (what, field, count, max) => {
  expect(problems(run(30, (minute) => ({ [field]: count + Math.floor(minute / 3) })))).toEqual([
    expect.stringContaining(`one: ${what} grew`),
  ]);
  expect(problems(run(30, (minute) => ({ [field]: count + (minute > 15 ? max : 0) })))).toEqual([]);
  // A second life is compared with itself.
  expect(problems(run(30, (minute) => ({ pid: minute < 15 ? 1 : 2, [field]: count + (minute < 15 ? 0 : 2 * max) })))).toEqual([]);
});
