/**
 * What the etcd store costs, on an etcd of one member that it starts itself (docs/decisions/0013-etcd-store.md):
 * `node scripts/launch.mjs scripts/bench-etcd.ts`. Commits of so many records, folding off and on; folding alone; and how long a
 * coordinator waits that takes over. On a busy machine only the processor time means something.
 */
import { readFileSync } from "node:fs";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { TaskRecord } from "../cluster/src/core/task.ts";
import { openEtcdReader } from "../cluster/src/store/etcd-reader.ts";
import { openEtcdStore, type EtcdStore } from "../cluster/src/store/etcd.ts";
import { systemClock } from "../cluster/src/system/clock.ts";
import { startTestEtcd, type TestEtcd } from "../tests/support/etcd.ts";

const SIZES = [1, 16, 128, 1_000];
const COMMITS = [200, 200, 60, 20];
/** The best of them counts: other programs on the machine only ever make a round slower. */
const ROUNDS = 3;
const NODE = "studio" as NodeId;
const LIVE = 10_000;
const DONE = 100_000;

/** About 400 bytes as JSON. */
function record(key: number): TaskRecord {
  return {
    key,
    spec: { kind: "echo", input: { value: "x".repeat(130) } },
    priority: 4,
    owner: "bench",
    token: "k7qwjm2a",
    createdAt: key,
    queuedAt: key,
    state: "leased",
    reason: "placed",
    seq: 2,
    attempt: 1,
    failures: 0,
    losses: 0,
    acted: false,
    lease: { node: NODE, epoch: 1, offeredAt: key },
  };
}

function settled({ lease: _over, ...task }: TaskRecord): TaskRecord {
  return { ...task, state: "succeeded", reason: "done", seq: 3, endedAt: task.createdAt, result: { said: "x".repeat(64) } };
}

/** User and system time so far, in ms: of this process, and of etcd. Linux counts etcd's in hundredths of a second. */
function processorMs({ pids }: TestEtcd): { own: number; etcd: number } {
  const { user, system } = process.cpuUsage();
  const ticks = pids.map((pid) => {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
    return Number(fields[11]) + Number(fields[12]);
  });
  return { own: (user + system) / 1_000, etcd: ticks.reduce((all, some) => all + some * 10, 0) };
}

/** µs of processor time per item. */
async function costing(etcd: TestEtcd, items: number, work: () => Promise<unknown>): Promise<string> {
  const before = processorMs(etcd);
  await work();
  const after = processorMs(etcd);
  const per = (ms: number): string => ((ms * 1_000) / items).toFixed(0);
  return `${per(after.own - before.own)} µs here and ${per(after.etcd - before.etcd)} µs in etcd`;
}

async function timed<T>(work: () => Promise<T>): Promise<{ ms: number; value: T }> {
  const began = performance.now();
  const value = await work();
  return { ms: performance.now() - began, value };
}

const made = (first: number, count: number): TaskRecord[] => Array.from({ length: count }, (_, at) => record(first + at));

/** Without folding a store keeps its log; the clock never comes round to it. */
const STILL = { ...systemClock, after: (ms: number, run: () => void) => systemClock.after(ms < 1_000 ? 3_600_000 : ms, run) };

async function opened(etcd: TestEtcd, clock = systemClock): Promise<{ store: EtcdStore; epoch: number; prefix: string }> {
  const prefix = etcd.prefix();
  const store = await openEtcdStore({ client: etcd.client, prefix, clock });
  return { store, epoch: (await store.claim()).epoch, prefix };
}

async function commits(etcd: TestEtcd, size: number, count: number, folds: boolean): Promise<number> {
  const { store, epoch } = await opened(etcd, folds ? systemClock : STILL);
  let key = 1;
  const { ms } = await timed(async () => {
    for (let commit = 0; commit < count; commit += 1, key += size) await store.commit({ epoch, created: made(key, size) });
  });
  await store.close();
  return (count * 1_000) / ms;
}

async function bestOf(run: () => Promise<number>): Promise<number> {
  let best = 0;
  for (let round = 0; round < ROUNDS; round += 1) best = Math.max(best, await run());
  return best;
}

async function folding(etcd: TestEtcd): Promise<void> {
  const { store, epoch } = await opened(etcd, STILL);
  const tasks = made(1, 10_000);
  await store.commit({ epoch, created: tasks });
  await store.commit({ epoch, changed: tasks.map(settled) });
  let took = 0;
  const cost = await costing(etcd, tasks.length, async () => (took = (await timed(() => store.fold())).ms));
  const rate = ((tasks.length * 3_000) / took).toFixed(0);
  console.log(`fold of ${tasks.length} tasks made and settled: ${took.toFixed(0)} ms, ${rate} operations/s; a task costs ${cost}`);
  const pruned = await timed(() => store.prune({ endedBefore: 5_000, limit: 4_000 }));
  console.log(`prune of ${pruned.value.tasks} tasks: ${pruned.ms.toFixed(0)} ms`);
  await store.close();
}

async function takeOver(etcd: TestEtcd): Promise<void> {
  const { store, epoch, prefix } = await opened(etcd);
  for (let key = 1; key <= DONE + LIVE; key += 1_000) {
    const tasks = made(key, 1_000);
    await store.commit({ epoch, created: tasks });
    if (key <= DONE) await store.commit({ epoch, changed: tasks.map(settled) });
  }
  await store.fold();
  const next = await openEtcdStore({ client: etcd.client, prefix });
  const claimed = await timed(() => next.claim());
  const loaded = await timed(() => next.load());
  const reader = await timed(() => openEtcdReader({ client: etcd.client, prefix }));
  const page = await timed(() => next.list({ states: ["failed"] }, { limit: 50 }));
  const newest = await timed(() => next.list({}, { limit: 50 }));
  const counted = loaded.value.live.length;
  const mebibytes = ((await next.bytes()) ?? 0) / 2 ** 20;
  console.log(`\n${DONE} finished and ${counted} live tasks, ${mebibytes.toFixed(0)} MiB`);
  console.log(`claim ${claimed.ms.toFixed(0)} ms, load ${loaded.ms.toFixed(0)} ms, a reader's start ${reader.ms.toFixed(0)} ms`);
  console.log(
    `a page that finds nothing and ends at ${page.value.next}: ${page.ms.toFixed(0)} ms; the newest 50: ${newest.ms.toFixed(0)} ms`,
  );
  await reader.value.close();
  await next.close();
  await store.close();
}

const etcd = await startTestEtcd({ quotaBytes: 4 * 2 ** 30 });
try {
  for (const [at, size] of SIZES.entries()) {
    const count = COMMITS[at] as number;
    const alone = await bestOf(() => commits(etcd, size, count, false));
    const beside = await bestOf(() => commits(etcd, size, count, true));
    const cost = await costing(etcd, size * count, () => commits(etcd, size, count, false));
    const per = (rate: number): string => `${rate.toFixed(0)} commits/s, ${(rate * size).toFixed(0)} records/s`;
    console.log(`batch of ${size}: ${per(alone)}; with folding beside: ${per(beside)}; a record costs ${cost}`);
  }
  await folding(etcd);
  await takeOver(etcd);
} finally {
  await etcd.stop();
}
