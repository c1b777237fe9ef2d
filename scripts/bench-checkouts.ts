/**
 * `node scripts/bench-checkouts.ts --base <folder>`: did a change cost speed? Measures this checkout against another one (a git
 * worktree of the commit before, with its packages installed) in turns, A B B A …, so that a machine whose speed drifts treats
 * both alike, and prints the ratios of the medians. Each side is driven by its own client and benchmark.
 */
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import type { startCluster } from "./bench/cluster-under-test.ts";
import type { clusterTarget, measure, Mode } from "./bench/measure.ts";
import { median } from "./bench/percentiles.ts";
import { endOnSignal } from "./child.ts";

const { values } = parseArgs({
  options: { base: { type: "string" }, rounds: { type: "string", default: "5" }, scale: { type: "string", default: "1" } },
});
if (values.base === undefined) {
  process.stderr.write("usage: node scripts/bench-checkouts.ts --base <folder of the other checkout> [--rounds 5] [--scale 1]\n");
  process.exit(2);
}

const SLOTS = 64;
/** Not counted: fresh programs run at half their speed until their code is compiled. */
const WARM_UP: readonly (readonly [Mode, number])[] = [
  ["single", 5_000],
  ["arrays", 20_000],
];
const PLAN: readonly (readonly [Mode, number])[] = [
  ["single", 20_000],
  ["arrays", 50_000],
];

interface Side {
  readonly name: string;
  readonly folder: string;
  /** Tasks a second, and ms of processor time a task; by mode. */
  readonly perSecond: number[][];
  readonly cpuMs: number[][];
}

const sideOf = (name: string, folder: string): Side => ({ name, folder, perSecond: PLAN.map(() => []), cpuMs: PLAN.map(() => []) });
const here = sideOf("here", fileURLToPath(new URL("..", import.meta.url)));
const base = sideOf("base", path.resolve(values.base));

interface Bench {
  startCluster: typeof startCluster;
  clusterTarget: typeof clusterTarget;
  measure: typeof measure;
}

async function benchOf({ folder }: Side): Promise<Bench> {
  const load = (file: string): Promise<object> => import(pathToFileURL(path.join(folder, "scripts/bench", file)).href) as Promise<object>;
  return { ...(await load("cluster-under-test.ts")), ...(await load("measure.ts")) } as Bench;
}

async function measureSide(side: Side, scale: number): Promise<void> {
  const bench = await benchOf(side);
  const cluster = await bench.startCluster({ workers: 1, slots: SLOTS });
  try {
    const target = bench.clusterTarget(cluster);
    for (const [mode, tasks] of WARM_UP) await bench.measure(target, mode, Math.max(500, tasks * scale));
    for (const [index, [mode, tasks]] of PLAN.entries()) {
      const { perSecond, cpuPerTaskMs } = await bench.measure(target, mode, Math.max(500, tasks * scale));
      side.perSecond[index]?.push(perSecond);
      side.cpuMs[index]?.push(cpuPerTaskMs.servers);
      process.stderr.write(
        `  ${side.name} ${mode} ${Math.round(perSecond)}/s, ${cpuPerTaskMs.servers.toFixed(4)} ms of processor a task\n`,
      );
    }
  } finally {
    await cluster.end();
  }
}

endOnSignal();
for (let round = 0; round < Number(values.rounds); round++) {
  process.stderr.write(`round ${round + 1} of ${values.rounds}\n`);
  for (const side of round % 2 === 0 ? [base, here] : [here, base]) await measureSide(side, Number(values.scale));
}
for (const [index, [mode]] of PLAN.entries()) {
  const ratio = (of: "perSecond" | "cpuMs"): string => (median(here[of][index] ?? []) / median(base[of][index] ?? [])).toFixed(3);
  process.stdout.write(`${mode.padEnd(8)} here/base: ${ratio("perSecond")} tasks a second, ${ratio("cpuMs")} processor time a task\n`);
}
