/**
 * What the SQLite store costs: in line, and for comparison behind a worker thread (docs/decisions/0003-sqlite-in-line.md).
 * `node scripts/bench-store.ts [tasks]`. Between two commits the caller does some work for each task, as the coordinator
 * does; a thread can commit meanwhile, the event loop's own thread cannot.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import type { TaskRecord } from "../cluster/src/core/task.ts";
import { openSqliteStore } from "../cluster/src/store/sqlite.ts";
import type { Batch, Store } from "../cluster/src/store/store.ts";

/** The best of them counts: other programs on the machine only ever make a round slower. */
const ROUNDS = 5;
const WORK_US = 10;
const NODES = ["studio", "nas"] as NodeId[];

type Committer = Pick<Store, "claim" | "commit" | "close">;

function placed(key: number, epoch: number): TaskRecord {
  const node = NODES[key % NODES.length] as NodeId;
  const scored = NODES.map((name) => [name, 0.73, { eta: 0.5, room: 0.25, load: 0.11 }] as const);
  return {
    key,
    spec: { kind: "echo", input: { value: "x".repeat(256) } },
    priority: 4,
    owner: "bench",
    token: "",
    createdAt: key,
    queuedAt: key,
    state: "leased",
    reason: "placed",
    seq: 2,
    attempt: 1,
    failures: 0,
    losses: 0,
    acted: false,
    lease: { node, epoch, offeredAt: key },
    placement: { node, strategy: "balanced", at: key, scored, refused: [] },
  };
}

function settled({ lease: _over, ...task }: TaskRecord): TaskRecord {
  return {
    ...task,
    state: "succeeded",
    reason: "done",
    seq: 3,
    startedAt: task.createdAt,
    endedAt: task.createdAt,
    result: "x".repeat(256),
  };
}

/** The store in a thread of its own, one message for each call. */
async function openInThread(path: string): Promise<Committer> {
  const thread = new Worker(new URL(import.meta.url), { workerData: path });
  const waiting: ((answer: unknown) => void)[] = [];
  thread.on("message", (answer) => waiting.shift()?.(answer));
  thread.on("error", (error) => {
    throw error;
  });
  const call = <T>(message: unknown): Promise<T> =>
    new Promise((resolve) => {
      waiting.push(resolve as (answer: unknown) => void);
      thread.postMessage(message);
    });
  return {
    claim: () => call("claim"),
    commit: (batch) => call(batch),
    async close() {
      await call("close");
      await thread.terminate();
    },
  };
}

async function serve(path: string): Promise<void> {
  const store = await openSqliteStore({ path });
  const answer = (message: Batch | "claim" | "close"): Promise<unknown> =>
    message === "claim" || message === "close" ? store[message]() : store.commit(message);
  parentPort?.on("message", (message) => {
    // A failure is not caught: it ends the thread, whose "error" event ends the program.
    void answer(message).then((result) => parentPort?.postMessage(result));
  });
}

function work(tasks: number, microseconds: number): void {
  const end = performance.now() + (tasks * microseconds) / 1_000;
  while (performance.now() < end);
}

/** µs per task made and settled, with each commit begun before the work for the next one, and the longest commit in ms. */
async function measure(store: Committer, total: number, size: number, workUs: number): Promise<{ us: number; longestMs: number }> {
  const { epoch } = await store.claim();
  let longestMs = 0;
  let key = 0;
  let running: Promise<void> = Promise.resolve();
  const commit = async (batch: Batch): Promise<void> => {
    const began = performance.now();
    await store.commit(batch);
    longestMs = Math.max(longestMs, performance.now() - began);
  };
  const turn = async (batch: Batch): Promise<void> => {
    work(size / 2, workUs);
    await running;
    running = commit(batch);
  };
  const run = async (tasks: number): Promise<void> => {
    for (const end = key + tasks; key < end;) {
      const created = Array.from({ length: size }, () => placed((key += 1), epoch));
      await turn({ epoch, created });
      await turn({ epoch, changed: created.map(settled) });
    }
    await running;
  };
  await run(total / 4);
  longestMs = 0;
  const first = key;
  const began = performance.now();
  await run(total);
  return { us: ((performance.now() - began) * 1_000) / (key - first), longestMs };
}

async function inFolder<T>(use: (path: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "bench-store-"));
  try {
    return await use(join(folder, "cluster.db"));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function compare(total: number): Promise<void> {
  for (const workUs of [0, WORK_US]) {
    console.log(
      `\n${workUs} µs of other work per task; µs per task made and settled, best of ${ROUNDS} rounds; the longest commit of any, in ms`,
    );
    for (const size of [1, 64, 256, 1_000]) {
      const best = { inLine: Infinity, thread: Infinity };
      let longest = 0;
      for (let round = 0; round < ROUNDS; round += 1) {
        for (const way of ["inLine", "thread"] as const) {
          await inFolder(async (path) => {
            const store = way === "inLine" ? await openSqliteStore({ path }) : await openInThread(path);
            const { us, longestMs } = await measure(store, size === 1 ? total / 10 : total, size, workUs);
            best[way] = Math.min(best[way], us);
            if (way === "inLine") longest = Math.max(longest, longestMs);
            await store.close();
          });
        }
      }
      const { inLine, thread } = best;
      const ratio = (thread / inLine).toFixed(2);
      console.log(
        `batch ${size}: in line ${inLine.toFixed(1)}, thread ${thread.toFixed(1)}, ratio ${ratio}; longest ${longest.toFixed(0)}`,
      );
    }
  }
}

/** How long a coordinator waits for its store when it starts on a long history. */
async function startUp(finished: number, live: number): Promise<void> {
  await inFolder(async (path) => {
    const store = await openSqliteStore({ path });
    const { epoch } = await store.claim();
    for (let key = 0; key < finished + live; key += 1_000) {
      const created = Array.from({ length: 1_000 }, (_, index) => placed(key + index + 1, epoch));
      await store.commit({ epoch, created });
      if (key < finished) await store.commit({ epoch, changed: created.map(settled) });
    }
    await store.close();
    const began = performance.now();
    const again = await openSqliteStore({ path });
    const opened = performance.now();
    await again.load();
    const loaded = performance.now();
    const page = await again.list({ states: ["failed"] }, { limit: 50 });
    const listed = performance.now();
    const bytes = (await again.bytes()) ?? 0;
    console.log(`\n${finished} finished and ${live} live tasks, ${(bytes / 2 ** 20).toFixed(0)} MiB`);
    console.log(`open and check ${(opened - began).toFixed(0)} ms, load ${(loaded - opened).toFixed(0)} ms`);
    console.log(`a page that finds nothing and ends at ${page.next}: ${(listed - loaded).toFixed(1)} ms`);
    await again.close();
  });
}

if (isMainThread) {
  const total = Number(process.argv[2] ?? 20_000);
  await compare(total);
  await startUp(100_000, 10_000);
} else {
  await serve(workerData as string);
}
