/** The words of a soak: a line of progress for each sample, and at its end a table, what was kept, and the verdict. */
import type { Sample } from "./samples.ts";
import type { Strike } from "./strikes.ts";
import type { PartVerdict } from "./verdict.ts";

const PROBLEMS_SHOWN = 20;

export function progressLine({ atMs, atRest, parts, sizes }: Sample, tasks: number): string {
  const each = parts.map(({ part, rssMiB, fds, threads }) => `${part} ${rssMiB.toFixed(0)} MiB ${fds} fd ${threads} thr`);
  const { databaseMiB, walMiB, streamsMiB } = sizes;
  const disk = `database ${databaseMiB.toFixed(1)}+${walMiB.toFixed(1)} MiB, streams ${streamsMiB.toFixed(1)} MiB`;
  return [clock(atMs), `${tasks} tasks`, ...each, disk, ...(atRest ? ["at rest"] : [])].join(" | ");
}

interface Course {
  readonly elapsedMs: number;
  readonly tasks: number;
  readonly rounds: number;
  readonly struck: ReadonlyMap<Strike, number>;
  readonly samples: readonly Sample[];
}

export interface Report {
  readonly seed: number;
  readonly course: Course;
  readonly parts: readonly PartVerdict[];
  readonly problems: readonly string[];
}

export function reportLines({ seed, course, parts, problems }: Report): string[] {
  const { elapsedMs, tasks, rounds, struck, samples } = course;
  const blows = [...struck].map(([what, times]) => `${what} ${times} times`).join(", ") || "nothing was struck";
  const more = problems.length - PROBLEMS_SHOWN;
  return [
    "",
    ...table(parts),
    ...keptLines(samples, tasks),
    `${tasks} tasks in ${rounds} rounds; ${blows}`,
    ...problems.slice(0, PROBLEMS_SHOWN).map((problem) => `✗ ${problem}`),
    ...(more > 0 ? [`✗ and ${more} more`] : []),
    `${problems.length === 0 ? "PASS" : "FAIL"} after ${clock(elapsedMs)}, seed ${seed}`,
  ];
}

function table(parts: readonly PartVerdict[]): string[] {
  const rows = parts.map(({ part, lives, rssMiB, slope, fds, threads }) => [
    part,
    String(lives),
    `${rssMiB.toFixed(0)} MiB`,
    slope === undefined ? "too young" : `${signed(slope.mibPerHour)} (at most ${slope.limit.toFixed(0)})`,
    fds === undefined ? "–" : fds.join(" → "),
    threads === undefined ? "–" : threads.join(" → "),
  ]);
  const all = [["part", "lives", "memory", "MiB/h", "descriptors at rest", "threads at rest"], ...rows];
  const widths = all[0]!.map((_, column) => Math.max(...all.map((row) => row[column]!.length)));
  return all.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join("  ")
      .trimEnd(),
  );
}

/** What a steady cluster goes on to write, up to its limits of days and bytes. */
function keptLines(samples: readonly Sample[], tasks: number): string[] {
  const [first, last] = [samples[0], samples.at(-1)];
  if (first === undefined || last === undefined || tasks === 0) return [];
  const database = last.sizes.databaseMiB - first.sizes.databaseMiB;
  const each = ((database * 1_024) / tasks).toFixed(1);
  const streams = signed(last.sizes.streamsMiB - first.sizes.streamsMiB);
  return [
    `kept by design: database ${signed(database)} MiB (${each} KiB a task) and ${last.sizes.walMiB.toFixed(0)} MiB of log before it, output ${streams} MiB`,
  ];
}

/** hh:mm:ss */
export function clock(ms: number): string {
  const seconds = ms / 1_000;
  return [seconds / 3_600, (seconds / 60) % 60, seconds % 60].map((part) => String(Math.floor(part)).padStart(2, "0")).join(":");
}

const signed = (value: number): string => `${value < 0 ? "" : "+"}${value.toFixed(1)}`;
