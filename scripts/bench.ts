/**
 * `npm run bench`: what a task costs, end to end, in separate processes: the public HTTP client, the coordinator with its
 * store and nats-server, and one worker. `-- --json` prints one document; `-- --peer bullmq` does the same work with
 * BullMQ in turns and prints ratios; `-- --quick` is a tenth of it, to see that it works.
 * Read the figures as ratios within one run: machines are noisy (docs/performance.md).
 */
import { cpus, totalmem } from "node:os";
import { parseArgs } from "node:util";
import { benchPlacing } from "../cluster/src/core/scheduling/scheduler.bench.ts";
import { compare } from "./bench/compare.ts";
import { startCluster } from "./bench/cluster-under-test.ts";
import { clusterTarget, measure } from "./bench/measure.ts";
import { cpuMs, rssMiB } from "./bench/usage.ts";
import { printReport, type Report } from "./bench/report.ts";

const { values } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    peer: { type: "string" },
    rounds: { type: "string", default: "3" },
  },
});

const scale = values.quick ? 0.1 : 1;
const SLOTS = 64;
const IDLE_MS = 10_000;
const say = (text: string): void => void process.stderr.write(`${text}\n`);

async function benchOurs(report: Report): Promise<void> {
  const cluster = await startCluster({ workers: 1, slots: SLOTS });
  try {
    const { coordinator, nats, workers } = cluster.pids;
    const worker = workers[0] as number;
    const all = [coordinator, nats, worker];
    const spent = async (): Promise<number> => (await Promise.all(all.map(cpuMs))).reduce((sum, ms) => sum + ms, 0);
    const memory = async () => ({ coordinator: await rssMiB(coordinator), nats: await rssMiB(nats), worker: await rssMiB(worker) });
    say("idle …");
    const before = await spent();
    await new Promise((resolve) => setTimeout(resolve, IDLE_MS * scale));
    report.idle = { cpuPercent: (((await spent()) - before) / (IDLE_MS * scale)) * 100, rssMiB: await memory() };
    const target = clusterTarget(cluster);
    const plan = [
      ["single", 2_000],
      ["arrays", 20_000],
      ["single", 20_000],
      ["arrays", 50_000],
      ["latency", 2_000],
      ["submit-single", 20_000],
      ["submit-arrays", 50_000],
    ] as const;
    let finished = 0;
    for (const [mode, tasks] of plan) {
      const count = Math.max(500, tasks * scale);
      say(`${mode}, ${count} tasks …`);
      if (mode === "submit-single") {
        report.afterHistory = { finished, run: await measure(target, "arrays", Math.max(500, 20_000 * scale)) };
        report.rssAfterMiB = await memory();
      }
      report.runs.push(await measure(target, mode, count));
      finished += count;
    }
  } finally {
    await cluster.end();
  }
}

const report: Report = {
  machine: {
    cpu: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    at: new Date().toISOString().slice(0, 10),
  },
  runs: [],
};
if (values.peer === undefined) {
  await benchOurs(report);
  say("placing 100,000 queued tasks on 1,000 nodes …");
  const size = { nodes: 1_000, queued: values.quick ? 10_000 : 100_000 };
  report.placing = { ...size, ...benchPlacing({ ...size, seed: 1, clock: () => performance.now() }) };
} else if (values.peer === "bullmq") {
  report.peer = await compare({ rounds: Number(values.rounds), slots: SLOTS, scale, say });
} else {
  say(`no such peer: ${values.peer}; there is bullmq`);
  process.exit(2);
}
if (values.json) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
else printReport(report);
