/**
 * `npm run bench`: what a task costs, end to end, in separate processes: the public HTTP client, the coordinator with its
 * store and nats-server, and one worker. `-- --json` prints one document; `-- --peer bullmq` does the same work with
 * BullMQ in turns and prints ratios; `-- --recovery` kills workers and cuts them off, `-- --flood` submits more than can be taken, `-- --restart`
 * kills the coordinator; `-- --store etcd` keeps the tasks in an etcd of one member that it starts, `-- --store etcd --members 3` in one of
 * three, all on this machine; `-- --tls` has everything go over TLS, on this machine's private address; `-- --models` lets the router of models and three
 * others work off the same trace, in simulated time, and `-- --model-streams` measures the way of real answers; `-- --quick` is a tenth of it, to see
 * that it works.
 * Read the figures as ratios within one run: machines are noisy (docs/performance.md).
 */
import { mkdtemp, rm } from "node:fs/promises";
import { cpus, loadavg, tmpdir, totalmem } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { benchHotPath, benchPlacing } from "../cluster/src/core/scheduling/scheduler.bench.ts";
import { compare } from "./bench/compare.ts";
import { startCluster } from "./bench/cluster-under-test.ts";
import { clusterTarget, measure, type Measured, type Mode } from "./bench/measure.ts";
import { benchFlood } from "./bench/flood.ts";
import { benchModelStreams } from "./bench/model-streams.ts";
import { benchModels } from "./bench/models.ts";
import { benchRecovery } from "./bench/recovery.ts";
import { benchRestart } from "./bench/restart.ts";
import { printReport, type Report } from "./bench/report.ts";
import { childrenOf, cpuMs, rssMiB } from "./bench/usage.ts";
import { endOnSignal } from "./child.ts";
import { startDaemon } from "./daemon.ts";

// Each has options of its own.
const OTHERS: Readonly<Record<string, (args: readonly string[]) => Promise<void>>> = {
  "--models": (args) => benchModels([...args]),
  "--model-streams": benchModelStreams,
};
for (const [name, bench] of Object.entries(OTHERS)) {
  if (!process.argv.includes(name)) continue;
  await bench(process.argv.slice(2).filter((arg) => arg !== name));
  process.exit(0);
}

const { values } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    peer: { type: "string" },
    rounds: { type: "string" },
    recovery: { type: "boolean", default: false },
    flood: { type: "boolean", default: false },
    restart: { type: "boolean", default: false },
    tls: { type: "boolean", default: false },
    store: { type: "string", default: "sqlite" },
    members: { type: "string", default: "1" },
  },
});

const scale = values.quick ? 0.1 : 1;
const members = Number(values.members);
if (!["sqlite", "etcd"].includes(values.store) || ![1, 3, 5].includes(members)) {
  process.stderr.write("--store takes sqlite or etcd, --members 1, 3 or 5\n");
  process.exit(2);
}
const etcdMembers = values.store === "etcd" ? members : undefined;
const SLOTS = 64;
const FLOOD_S = 10;
/** Tasks that wait when the coordinator is killed. */
const OPEN = 10_000;
const IDLE_MS = 10_000;
/** V8 gives memory back by itself when a process has done little for some 100 s. */
const REST_MS = 150_000;
const say = (text: string): void => void process.stderr.write(`${text}\n`);
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** One daemon with both roles, as most people run it, and its nats-server. */
async function benchIdle(report: Report): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), "openclaw-cluster-idle-"));
  const settings = { nodeId: "idle", api: { port: 0 }, nats: { port: 0 }, openclaw: { enabled: "off" }, log: { level: "warn" } };
  const daemon = await startDaemon(path.join(folder, "home"), settings);
  try {
    const { pid } = daemon.process;
    const [nats = Number.NaN] = await childrenOf(pid);
    const spent = async (): Promise<number> => (await cpuMs(pid)) + (await cpuMs(nats));
    await pause(IDLE_MS * scale);
    const before = await spent();
    await pause(IDLE_MS * scale);
    const cpuPercent = (((await spent()) - before) / (IDLE_MS * scale)) * 100;
    report.idle = { cpuPercent, rssMiB: { daemon: await rssMiB(pid), nats: await rssMiB(nats) } };
  } finally {
    await daemon.process.end();
    await rm(folder, { recursive: true, force: true });
  }
}

/** Shows the warm-up, then what follows it. Latency is not measured behind a burst, whose pages the disk still writes. */
const PLAN = [
  ["single", 2_000],
  ["arrays", 20_000],
  ["single", 20_000],
  ["latency", 2_000],
  ["arrays", 60_000],
  ["submit-single", 20_000],
  ["submit-arrays", 50_000],
] as const;

/** The scheduler alone, in this process: a long queue before a large cluster, and the cost of a task in a small one. */
function benchScheduler(): NonNullable<Report["placing"]> {
  const clock = (): number => performance.now();
  const size = { nodes: 1_000, queued: 100_000 * scale };
  const hotPathUs = benchHotPath({ nodes: 2, tasks: 200_000 * scale, batch: 500, clock });
  return { ...size, ...benchPlacing({ ...size, seed: 1, clock }), hotPathUs };
}

async function benchOurs(report: Report): Promise<void> {
  const cluster = await startCluster({ workers: 1, slots: SLOTS, ...(values.tls && { host: "lan" }), ...(etcdMembers && { etcdMembers }) });
  try {
    const { coordinator, nats, workers, etcd } = cluster.pids;
    const worker = workers[0] as number;
    const memory = async () => ({
      coordinator: await rssMiB(coordinator),
      nats: await rssMiB(nats),
      worker: await rssMiB(worker),
      ...(etcd.length > 0 && { etcd: await Promise.all(etcd.map(rssMiB)) }),
    });
    const target = clusterTarget(cluster);
    const run = (mode: Mode, tasks: number): Promise<Measured> => {
      const count = Math.max(500, tasks * scale);
      say(`${mode}, ${count} tasks …`);
      return measure(target, mode, count);
    };
    let finished = 0;
    for (const [mode, tasks] of PLAN) {
      if (mode === "submit-single") {
        report.afterHistory = { finished, run: await run("arrays", 20_000) };
        report.memoryMiB = { after: finished + report.afterHistory.run.tasks, atOnce: await memory() };
        say("placing 100,000 queued tasks on 1,000 nodes …");
        report.placing = benchScheduler();
        say("at rest …");
        await pause(REST_MS * scale);
        report.memoryMiB.atRest = await memory();
      }
      const measured = await run(mode, tasks);
      report.runs.push(measured);
      finished += measured.tasks;
    }
  } finally {
    await cluster.end();
  }
}

endOnSignal();
const report: Report = {
  machine: {
    cpu: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    at: new Date().toISOString().slice(0, 10),
    load: loadavg()[0] ?? Number.NaN,
  },
  ...(etcdMembers !== undefined && { etcdMembers }),
  runs: [],
};
if (values.recovery) {
  report.recovery = await benchRecovery({ rounds: Number(values.rounds ?? (values.quick ? 3 : 20)), say });
} else if (values.flood) {
  report.floods = await benchFlood({ rates: [10_000, 20_000], seconds: FLOOD_S * (values.quick ? 0.3 : 1), say });
} else if (values.restart) {
  report.restart = await benchRestart({ rounds: Number(values.rounds ?? (values.quick ? 1 : 3)), open: OPEN * scale, say });
} else if (values.peer === undefined) {
  if (etcdMembers === undefined) {
    say("idle …");
    await benchIdle(report);
  }
  await benchOurs(report);
} else if (values.peer === "bullmq") {
  report.peer = await compare({ rounds: Number(values.rounds ?? 3), slots: SLOTS, scale, say });
} else {
  say(`no such peer: ${values.peer}; there is bullmq`);
  process.exit(2);
}
if (values.json) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
else printReport(report);
