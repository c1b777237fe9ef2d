/**
 * A whole cluster in one process: the real coordinator and real workers on the ram store and the ram bus, with echo as
 * the only kind, unless a test brings more. Folders of the workers are temporary; `stop` leaves nothing behind.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { NodeId } from "@openclaw-cluster/contract/ids";
import type { NodeFacts } from "@openclaw-cluster/contract/node";
import { openRamNet, type RamNet } from "../../cluster/src/bus/ram.ts";
import { Rations } from "../../cluster/src/bus/rations.ts";
import type { Coordinator } from "../../cluster/src/coordinator/coordinator.ts";
import type { LeadParts } from "../../cluster/src/coordinator/lead-parts.ts";
import { openCoordinator } from "../../cluster/src/coordinator/open.ts";
import { DEFAULT_POLICY, type Policy } from "../../cluster/src/core/policy.ts";
import { summary } from "../../cluster/src/core/policy-facts.ts";
import { echoExecutor } from "../../cluster/src/executors/echo.ts";
import type { Executor } from "../../cluster/src/executors/executors.ts";
import { openRamStore } from "../../cluster/src/store/ram.ts";
import type { Store } from "../../cluster/src/store/store.ts";
import { systemClock, type Clock } from "../../cluster/src/system/clock.ts";
import { silentLog, type Log } from "../../cluster/src/system/log.ts";
import { Keyring } from "../../cluster/src/trust/keyring.ts";
import { openWorker, type Worker } from "../../cluster/src/worker/worker.ts";
import { AUTHORITY } from "./authority.ts";
import { COORDINATOR_KEY, keyFor, signAsCoordinator } from "./fake-keys.ts";

export interface RamCluster {
  readonly coordinator: Coordinator;
  readonly store: Store;
  readonly net: RamNet;
  /** Its facts tell of its policy, as it is at the time, unless `facts` say something else. Without a key it has one that is none. */
  addWorker(id: string, facts?: Partial<NodeFacts>, policy?: Policy, publicKey?: string): Promise<Worker>;
  /** The worker has ended in good order. */
  lose(worker: Worker): Promise<void>;
  /** The coordinator is gone without a word, and another starts on the same store. */
  restartCoordinator(): Promise<Coordinator>;
  stop(): Promise<void>;
}

/** Of the event loop; a message on the ram bus takes a few. */
const TURNS_MAX = 1_000;

const CALLED = { name: "test", version: "0.0.0", self: NodeId.parse("lead") };

export function factsOf(more: Partial<NodeFacts> = {}): NodeFacts {
  return {
    hostname: "test",
    os: "linux",
    arch: "x64",
    cpus: 2,
    memoryMiB: 8_192,
    diskFreeMiB: 50_000,
    version: "0.0.0",
    nodeVersion: process.version,
    kinds: ["echo"],
    skills: [],
    policy: { kinds: ["echo"] },
    labels: {},
    slots: 4,
    ...more,
  };
}

/** `backups`: where copies of the store go; without it none are made. */
export interface RamClusterOptions extends Pick<LeadParts, "joiners" | "backups" | "retentionTasks" | "control" | "words" | "models"> {
  readonly store?: Store;
  readonly clock?: Clock;
  readonly log?: Log;
  /** Beside echo. */
  readonly executors?: readonly Executor[];
}

export async function startRamCluster(options: RamClusterOptions = {}): Promise<RamCluster> {
  const { store = openRamStore(), clock = systemClock, log = silentLog, executors = [], ...parts } = options;
  const net = openRamNet({ clock });
  const folder = await mkdtemp(path.join(tmpdir(), "openclaw-cluster-ram-"));
  const workers = new Set<Worker>();
  const failures: unknown[] = [];
  const lead = (): Promise<Coordinator> =>
    openCoordinator({
      ...CALLED,
      store,
      bus: net.connect("coordinator", clock, undefined, new Rations(clock)),
      keyring: new Keyring(),
      coordinatorKey: COORDINATOR_KEY,
      sign: signAsCoordinator,
      authority: AUTHORITY,
      busUrls: () => ["ram:"],
      apiUrls: () => ["http://127.0.0.1:8888"],
      controlUrls: () => ["http://127.0.0.1:8888"],
      strategy: "balanced",
      retentionMs: 86_400_000,
      clock,
      random: Math.random,
      log,
      ...parts,
      broken: (error) => failures.push(error),
    });
  let coordinator = await lead();
  return {
    store,
    net,
    get coordinator() {
      return coordinator;
    },
    async addWorker(id, facts, policy, publicKey = keyFor(id)) {
      const node = NodeId.parse(id);
      const { cluster } = await coordinator.enrol({ id: node, publicKey });
      const own = factsOf(facts);
      const worker = await openWorker({
        node,
        cluster: cluster as never,
        bus: net.connect(id),
        clock,
        log,
        executors: new Map([echoExecutor({ clock }) as Executor, ...executors].map((one) => [one.kind, one])),
        facts: async () => ({ ...own, ...(policy && { policy: summary(policy, { now: clock.wall(), timeZone: "UTC" }) }), ...facts }),
        policy: { current: () => policy ?? DEFAULT_POLICY },
        folder: path.join(folder, id),
        slots: own.slots,
        diskFloorMiB: 0,
      });
      workers.add(worker);
      // Its first heartbeat is under way; what a test does next must not overtake it.
      for (let turn = 0; turn < TURNS_MAX && coordinator.node(node).state !== "ready"; turn++) await new Promise(setImmediate);
      return worker;
    },
    lose: (worker) => (workers.delete(worker), worker.stop({ graceMs: 0 })),
    async restartCoordinator() {
      await coordinator.stop();
      return (coordinator = await lead());
    },
    async stop() {
      for (const worker of workers) await worker.stop({ graceMs: 0 });
      await coordinator.stop();
      await store.close();
      await rm(folder, { recursive: true, force: true });
      if (failures.length > 0) throw failures[0];
    },
  };
}
