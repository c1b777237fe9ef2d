/** A cluster for the benchmark: coordinator and workers as processes of their own, started by the public command. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Running } from "../child.ts";
import { startDaemon } from "../daemon.ts";
import { childrenOf } from "./usage.ts";

export interface ClusterUnderTest {
  readonly url: string;
  readonly tokenFile: string;
  readonly pids: { coordinator: number; nats: number; workers: number[] };
  end(): Promise<void>;
}

export async function startCluster(options: { workers: number; slots: number }): Promise<ClusterUnderTest> {
  const folder = await mkdtemp(path.join(tmpdir(), "openclaw-cluster-bench-"));
  const running: Running[] = [];
  const end = async (): Promise<void> => {
    for (const one of running.toReversed()) await one.end();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const home = path.join(folder, "lead");
    const lead = await startDaemon(home, {
      nodeId: "lead",
      roles: ["coordinator"],
      api: { port: 0 },
      nats: { port: 0 },
      log: { level: "warn" },
    });
    running.push(lead.process);
    const url = lead.apiUrl as string;
    const tokenFile = path.join(home, "admin.token");
    const workers: number[] = [];
    for (let index = 1; index <= options.workers; index++) {
      const settings = {
        nodeId: `bench${index}`,
        roles: ["worker"],
        slots: options.slots,
        coordinator: { url, tokenFile },
        openclaw: { enabled: "off" },
        log: { level: "warn" },
      };
      const worker = await startDaemon(path.join(folder, `worker${index}`), settings);
      running.push(worker.process);
      workers.push(worker.process.pid);
    }
    const [nats = Number.NaN] = await childrenOf(lead.process.pid);
    return { url, tokenFile, pids: { coordinator: lead.process.pid, nats, workers }, end };
  } catch (error) {
    await end();
    throw error;
  }
}
