/** A cluster for the benchmark: coordinator and workers as processes of their own, started by the public command. */
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Running } from "../child.ts";
import { natsPortOf, startDaemon, type StartedDaemon } from "../daemon.ts";
import { startEtcd, type EtcdUnderTest } from "./etcd-store.ts";
import { childrenOf } from "./usage.ts";

export interface ClusterUnderTest {
  readonly url: string;
  readonly tokenFile: string;
  readonly pids: { coordinator: number; nats: number; workers: number[]; etcd: readonly number[] };
  readonly workers: readonly Running[];
  /** On its old home, after its process has ended. */
  restartWorker(index: number): Promise<void>;
  /** `kill -9`, and a start on the old home and port. Resolves when it listens. */
  crashCoordinator(): Promise<void>;
  end(): Promise<void>;
}

interface Options {
  readonly workers: number;
  readonly slots: number;
  /** `api.host` of the coordinator; loopback unless said. */
  readonly host?: string;
  /** Its store is an etcd of so many members, which are started with it; SQLite unless said. */
  readonly etcdMembers?: number;
  /** What a worker's command line stands behind, to run it elsewhere; `ports` are the coordinator's, of loopback. */
  readonly place?: (worker: number, ports: readonly number[]) => Promise<readonly string[] | undefined>;
}

const LEADS_MS_MAX = 30_000;
const LOOK_MS = 20;

/** A coordinator that shares its store is up before it leads; leading, it writes this. */
async function there(file: string): Promise<void> {
  for (const until = performance.now() + LEADS_MS_MAX; ; await pause(LOOK_MS)) {
    if (existsSync(file)) return;
    if (performance.now() > until) throw new Error(`the coordinator did not lead within ${LEADS_MS_MAX} ms`);
  }
}

export async function startCluster(options: Options): Promise<ClusterUnderTest> {
  const folder = await mkdtemp(path.join(tmpdir(), "openclaw-cluster-bench-"));
  let lead: StartedDaemon | undefined;
  let etcd: EtcdUnderTest | undefined;
  const workers: Running[] = [];
  const places: (readonly string[] | undefined)[] = [];
  const homeOf = (index: number): string => path.join(folder, `worker${index + 1}`);
  const end = async (): Promise<void> => {
    for (const one of workers.toReversed()) await one.end();
    await lead?.process.end();
    await etcd?.end();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const home = path.join(folder, "lead");
    if (options.etcdMembers !== undefined) etcd = await startEtcd(options.etcdMembers, folder);
    const settings = {
      nodeId: "lead",
      roles: ["coordinator"],
      api: { port: 0, host: options.host },
      nats: { port: 0 },
      ...(etcd !== undefined && { store: etcd.settings }),
      log: { level: "warn" },
    };
    lead = await startDaemon(home, settings);
    const url = lead.apiUrl as string;
    const tokenFile = path.join(home, "admin.token");
    await there(tokenFile);
    const ports = [Number(new URL(url).port), await natsPortOf(home)];
    for (let index = 0; index < options.workers; index++) {
      places[index] = await options.place?.(index, ports);
      const own = {
        nodeId: `bench${index + 1}`,
        roles: ["worker"],
        slots: options.slots,
        coordinator: { url, tokenFile, ...(url.startsWith("https:") && { caFile: path.join(home, "data", "authority.pem") }) },
        openclaw: { enabled: "off" },
        log: { level: "warn" },
      };
      workers.push((await startDaemon(homeOf(index), own, { under: places[index] ?? [] })).process);
    }
    const [nats = Number.NaN] = await childrenOf(lead.process.pid);
    return {
      url,
      tokenFile,
      pids: { coordinator: lead.process.pid, nats, workers: workers.map(({ pid }) => pid), etcd: etcd?.pids ?? [] },
      workers,
      restartWorker: async (index) => {
        workers[index] = (await startDaemon(homeOf(index), undefined, { under: places[index] ?? [] })).process;
      },
      crashCoordinator: async () => {
        await lead?.process.end("SIGKILL");
        lead = await startDaemon(home, { ...settings, api: { ...settings.api, port: Number(new URL(url).port) } });
      },
      end,
    };
  } catch (error) {
    await end();
    throw error;
  }
}
