/**
 * The same work through BullMQ on a private Redis, in turns with ours: A B A B …, a fresh server and worker each round,
 * so that a machine whose speed drifts treats both alike. Redis syncs each second (BullMQ's usual setting) and, in a
 * further column, before each answer, which is what ours does.
 */
import { fileURLToPath } from "node:url";
import { run } from "../child.ts";
import { startCluster } from "./cluster-under-test.ts";
import { clusterTarget, measure, type Mode, type Target } from "./measure.ts";
import { median } from "./percentiles.ts";
import { startRedis, type Sync } from "./redis.ts";

const WORKER = fileURLToPath(new URL("./bullmq-worker.ts", import.meta.url));
/** In this order: latency is not measured behind a burst, whose pages the disk still writes. */
const PLAN: readonly (readonly [Mode, number])[] = [
  ["single", 20_000],
  ["latency", 1_000],
  ["arrays", 50_000],
];
/** Not counted, on both sides: fresh programs run at half their speed until their code is compiled. */
const WARM_UP: readonly (readonly [Mode, number])[] = [
  ["single", 5_000],
  ["arrays", 20_000],
];

export interface Row {
  mode: Mode;
  ours: number[];
  everysec: number[];
  always: number[];
  /** Medians of ours over theirs; for latency theirs over ours, of the p50 to the result, so that more is better throughout. */
  ratioEverysec: number;
  ratioAlways: number;
}

export interface Comparison {
  rounds: number;
  unit: "tasks/s; latency in ms";
  rows: Row[];
}

export async function compare(options: { rounds: number; slots: number; scale: number; say(text: string): void }): Promise<Comparison> {
  const rows = PLAN.map(([mode]): Row => ({ mode, ours: [], everysec: [], always: [], ratioEverysec: 0, ratioAlways: 0 }));
  for (let round = 1; round <= options.rounds; round++) {
    options.say(`round ${round} of ${options.rounds}`);
    for (const side of ["ours", "everysec", "always"] as const) {
      await withTarget(side, options.slots, async (target) => {
        for (const [mode, tasks] of WARM_UP) await measure(target, mode, Math.max(500, tasks * options.scale));
        for (const [index, [mode, tasks]] of PLAN.entries()) {
          const measured = await measure(target, mode, Math.max(500, tasks * options.scale));
          const figure = mode === "latency" ? (measured.result?.p50 ?? Number.NaN) : measured.perSecond;
          rows[index]?.[side].push(figure);
          options.say(`  ${side.padEnd(8)} ${mode.padEnd(8)} ${figure.toFixed(mode === "latency" ? 2 : 0)}`);
        }
      });
    }
  }
  for (const row of rows) {
    const ratio = (theirs: readonly number[]): number =>
      row.mode === "latency" ? median(theirs) / median(row.ours) : median(row.ours) / median(theirs);
    row.ratioEverysec = ratio(row.everysec);
    row.ratioAlways = ratio(row.always);
  }
  return { rounds: options.rounds, unit: "tasks/s; latency in ms", rows };
}

async function withTarget(side: "ours" | Sync, slots: number, use: (target: Target) => Promise<void>): Promise<void> {
  if (side === "ours") {
    const cluster = await startCluster({ workers: 1, slots });
    try {
      await use(clusterTarget(cluster));
    } finally {
      await cluster.end();
    }
    return;
  }
  const redis = await startRedis(side);
  const worker = run(process.execPath, [WORKER, "--port", String(redis.port), "--concurrency", String(slots)]);
  try {
    await worker.says(/ready/);
    await use({ argv: ["--subject", "bullmq", "--port", String(redis.port)], pids: [redis.pid, worker.pid] });
  } finally {
    await worker.end();
    await redis.end();
  }
}
