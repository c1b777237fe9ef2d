/**
 * F29: the power is cut. A daemon at work is killed, and then its files are what a power cut could have left of them: what
 * nothing had synced is kept, lost or garbage, by chance, as strace tells it. It starts again by itself, and everything
 * that was answered is so. The streams of nats-server and the logs promise nothing and stay as they are.
 */
import { spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as pause } from "node:timers/promises";
import { openClient } from "@openclaw-cluster/contract/client/client";
import { nodeTransport } from "@openclaw-cluster/contract/client/node-transport";
import type { TaskId } from "@openclaw-cluster/contract/ids";
import type { TaskSpec } from "@openclaw-cluster/contract/task-spec";
import { TERMINAL } from "@openclaw-cluster/contract/task";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runCommand, startDaemon } from "../../scripts/daemon.ts";
import { startCluster, until, type TestCluster, type TestDaemon } from "../support/daemon.ts";
import { filesBelow, hasEnded, hasWritten, readTrace, tracedInto } from "../support/disk-trace.ts";
import { LOAD_POLICY, MixedLoad } from "../support/mixed-load.ts";
import { cutPower, type Cut } from "../support/power-cut.ts";
import { Chance } from "../simulation/world/chance.ts";

/** Needs strace and the right to trace one's own children. */
const canTrace = process.platform === "linux" && spawnSync("strace", ["-o", "/dev/null", "true"]).status === 0;

/** So many cuts, or as many as fit. */
const SEEDS = 24;
const LIMIT_MS = 100_000;
const WORKER_SEEDS = 5;
const FIRST_SEEDS = 6;
const FIRST_START_MS = [300, 4_000] as const;
const STRIKE_MS = [0, 2_500] as const;
/** In the midst of the copying of the log into the database, and of what follows it. */
const COPYING_MS = [0, 1_200] as const;
/** More than the log holds before it is copied into the database: each is written with its spec and its result. */
const BALLAST_TASKS = 80;
const BALLAST_CHARS = 240_000;

let folder: string;
let cluster: TestCluster;
let load: MixedLoad;
let one: TestDaemon;
const leave = new AbortController();
let listening: Promise<void> | undefined;

beforeAll(async () => {
  if (!canTrace) return;
  folder = mkdtempSync(path.join(tmpdir(), "ocx-cut-"));
  cluster = await startCluster();
  load = new MixedLoad(cluster);
  one = await cluster.addWorker("one", { slots: 8, policy: LOAD_POLICY });
  await cluster.addWorker("two", { slots: 8, policy: LOAD_POLICY });
  listening = listenForEnds();
  // Heard in afterAll.
  listening.catch(ignore);
});
afterAll(async () => {
  leave.abort();
  await cluster?.end();
  await listening;
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

/** What was told of a task's end stays so. */
async function listenForEnds(): Promise<void> {
  while (!leave.signal.aborted) {
    try {
      for await (const event of cluster.client.events({ types: ["task"], signal: leave.signal }))
        if (event.type === "task" && TERMINAL.has(event.state)) load.promises.ended(event.task, event.state);
    } catch (error) {
      // It was away for longer than the client is patient.
      expect(error).toMatchObject({ code: "coordinator_unreachable" });
    }
  }
}

/** A daemon that is watched from its start to its end by force, and the power cut that follows. */
interface Watched {
  readonly traceFile: string;
  cut(chance: Chance): Promise<Cut>;
}

async function startWatched(daemon: TestDaemon): Promise<Watched> {
  const traceFile = path.join(folder, randomUUID());
  const before = filesBelow(daemon.home);
  await daemon.start(tracedInto(traceFile));
  return {
    traceFile,
    async cut(chance) {
      await daemon.kill();
      return cutAfter({ ...daemon, traceFile, before }, chance);
    },
  };
}

interface Killed {
  readonly home: string;
  readonly pid: number;
  readonly traceFile: string;
  readonly before: ReadonlyMap<string, number>;
}

async function cutAfter({ home, pid, traceFile, before }: Killed, chance: Chance): Promise<Cut> {
  await until("its trace is whole", () => hasEnded(traceFile, pid) || undefined);
  const cut = cutPower(readTrace(traceFile, before, carriesPromises(home)), chance);
  rmSync(traceFile);
  return cut;
}

const carriesPromises =
  (home: string) =>
  (file: string): boolean =>
    file.startsWith(`${home}${path.sep}`) && !/^(data\/nats|logs|data\/worker\/attempts)\//.test(path.relative(home, file));

/** Of a copy: the daemon's own open of the file is still to come. */
function faultsOf(database: string): unknown[] {
  if (!existsSync(database)) return ["it is gone"];
  const copy = path.join(mkdtempSync(path.join(folder, "copy-")), "copy.db");
  for (const end of ["", "-wal"]) if (existsSync(database + end)) cpSync(database + end, copy + end);
  try {
    using opened = new DatabaseSync(copy);
    return opened.prepare("PRAGMA integrity_check").all().flatMap(Object.values);
  } catch (error) {
    return [String(error)];
  } finally {
    rmSync(path.dirname(copy), { recursive: true });
  }
}

describe.skipIf(!canTrace)("the power is cut (needs strace that may trace)", () => {
  const ballast: TaskSpec = { kind: "echo", input: { value: "x".repeat(BALLAST_CHARS) } };
  const flooded: TaskId[] = [];
  let sending: Promise<unknown> = Promise.resolve();
  let restless: { readonly id: TaskId; seq: number } | undefined;

  /** Cancels one task and takes it up again as fast as it goes, until nobody answers: each answer is a commit of its own, and a promise. */
  async function churn(): Promise<void> {
    const { client } = cluster;
    restless ??= { id: (await client.submit({ kind: "echo", input: {}, require: { labels: { nowhere: "yes" } } })).id, seq: 0 };
    const { id } = restless;
    for (let { state } = await client.getTask({ id }); ;) {
      const next = state === "cancelled" ? await client.retry({ id }) : await client.cancel({ id });
      restless.seq = next.seq;
      state = next.state;
    }
  }

  const flood = (): Promise<unknown>[] =>
    Array.from({ length: BALLAST_TASKS }, async () => {
      const { id } = await cluster.client.submit(ballast, { idempotencyKey: randomUUID() });
      flooded.push(id);
    });

  async function restlessIsThere(): Promise<string[]> {
    if (restless === undefined) return [];
    const { id, seq } = restless;
    const task = await cluster.client.getTask({ id });
    if (task.state !== "cancelled") await cluster.client.cancel({ id });
    return task.seq >= seq ? [] : [`${id} was told to be at change ${seq}, and is at ${task.seq}`];
  }

  async function allIsThere(): Promise<string[]> {
    await sending;
    const found = await restlessIsThere();
    found.push(...(await load.broken()));
    for (const id of flooded) {
      const { state } = await cluster.client.getTask({ id });
      if (state !== "succeeded") found.push(`${id} is ${state}`);
    }
    return found;
  }

  /** Under load, at a moment that is left to chance, or while the log is copied into the database. */
  async function strikeLead(seed: number): Promise<Cut> {
    const chance = new Chance(seed);
    const watched = await startWatched(cluster.lead);
    expect(await allIsThere(), `before seed ${seed}`).toEqual([]);
    const when = (["copy", "any", "any", "stop"] as const)[seed % 4];
    churn().catch(ignore);
    sending = Promise.all([load.start(), ...(when === "copy" ? flood() : [])]);
    sending.catch(ignore);
    if (when !== "copy") await pause(chance.between(...STRIKE_MS));
    if (when === "stop") process.kill(cluster.lead.pid, "SIGTERM");
    if (when !== "any") {
      await until("the log is copied", () => hasWritten(watched.traceFile, "cluster.db") || undefined);
      await pause(chance.between(...COPYING_MS));
    }
    const cut = await watched.cut(chance);
    expect(faultsOf(path.join(cluster.lead.home, "data", "cluster.db")), `seed ${seed}: ${JSON.stringify(cut)}`).toEqual(["ok"]);
    return cut;
  }

  test(
    "under the coordinator",
    async ({ annotate }) => {
      const begun = performance.now();
      const cuts: Cut[] = [];
      await cluster.lead.kill();
      // Until some have hit the log, and some the database itself; else nothing was tried.
      const both = (): boolean => ["cluster.db", "cluster.db-wal"].every((name) => bytesIn(cuts, name) > 0);
      for (let seed = 1; seed <= SEEDS && (performance.now() - begun < LIMIT_MS || !both()); seed += 1) cuts.push(await strikeLead(seed));
      await cluster.lead.start();
      expect(await allIsThere(), `after seed ${cuts.length}`).toEqual([]);
      await annotate(`${cuts.length} cuts, ${load.promises.count} submits answered: ${told(cuts)}`);
      expect(both()).toBe(true);
    },
    3 * LIMIT_MS,
  );

  test(
    "under a worker",
    async ({ annotate }) => {
      const cuts: Cut[] = [];
      for (let seed = 1; seed <= WORKER_SEEDS; seed += 1) {
        const chance = new Chance(seed);
        await one.kill();
        const watched = await startWatched(one);
        const sent = load.start();
        await pause(chance.between(...STRIKE_MS));
        const cut = await watched.cut(chance);
        cuts.push(cut);
        expect(faultsOf(path.join(one.home, "data", "worker", "spool.db")), `seed ${seed}: ${JSON.stringify(cut)}`).toEqual(["ok"]);
        await one.start();
        await sent;
        expect(await allIsThere(), `after seed ${seed}`).toEqual([]);
      }
      await annotate(`${cuts.length} cuts, ${load.promises.count} submits answered: ${told(cuts)}`);
      expect(bytesIn(cuts, "spool.db-wal")).toBeGreaterThan(0);
    },
    LIMIT_MS,
  );

  test(
    "in the first start of a machine: the next one goes on with whatever is there",
    async ({ annotate }) => {
      const cuts: Cut[] = [];
      for (let seed = 1; seed <= FIRST_SEEDS; seed += 1) {
        const chance = new Chance(seed);
        const home = path.join(folder, `first${seed}`);
        mkdirSync(home, { mode: 0o700 });
        const settings = { nodeId: "both", api: { port: 0 }, nats: { port: 0 }, openclaw: { enabled: "off" }, log: { level: "warn" } };
        writeFileSync(path.join(home, "cluster.yaml"), JSON.stringify(settings));
        const traceFile = path.join(folder, randomUUID());
        const before = filesBelow(home);
        const first = runCommand(["start", "--home", home, "--json"], tracedInto(traceFile));
        await pause(chance.between(...FIRST_START_MS));
        await first.end("SIGKILL");
        const cut = await cutAfter({ home, pid: first.pid, traceFile, before }, chance);
        cuts.push(cut);
        const { process: second, apiUrl } = await startDaemon(home);
        try {
          const client = openClient({
            url: apiUrl as string,
            token: readFileSync(path.join(home, "admin.token"), "utf8").trim(),
            transport: nodeTransport(),
          });
          expect(await client.run({ kind: "echo", input: { value: seed } }), `seed ${seed}: ${JSON.stringify(cut)}`).toMatchObject({
            state: "succeeded",
          });
          await client.close();
        } finally {
          await second.end();
        }
      }
      await annotate(`${cuts.length} cuts: ${told(cuts)}; ${cuts.flatMap(({ names }) => names).length} names gone`);
    },
    LIMIT_MS,
  );
});

/** The daemon is killed while it is asked. What must be answered in the end is awaited elsewhere. */
function ignore(): void {}

function bytesIn(cuts: readonly Cut[], name: string): number {
  return cuts
    .flatMap(({ bytes }) => Object.entries(bytes))
    .reduce((sum, [file, lost]) => (path.basename(file) === name ? sum + lost : sum), 0);
}

function told(cuts: readonly Cut[]): string {
  const names = new Set(cuts.flatMap(({ bytes }) => Object.keys(bytes).map((file) => path.basename(file))));
  return [...names].map((name) => `${bytesIn(cuts, name)} bytes of ${name}`).join(", ");
}
