/** A cluster for the benchmark: coordinator and workers as processes of their own, started by the public command. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { run, type Running } from "./child.ts";
import { childrenOf } from "./usage.ts";

const COMMAND = fileURLToPath(new URL("../../cluster/bin/openclaw-cluster.ts", import.meta.url));

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
    const lead = await startDaemon(home, { nodeId: "lead", roles: ["coordinator"], api: { port: 0 }, nats: { port: 0 }, log: { level: "warn" } });
    running.push(lead.daemon);
    const url = lead.apiUrl as string;
    const tokenFile = path.join(home, "admin.token");
    const workers: number[] = [];
    for (let index = 1; index <= options.workers; index++) {
      const settings = { nodeId: `bench${index}`, roles: ["worker"], slots: options.slots, coordinator: { url, tokenFile }, openclaw: { enabled: "off" }, log: { level: "warn" } };
      const { daemon } = await startDaemon(path.join(folder, `worker${index}`), settings);
      running.push(daemon);
      workers.push(daemon.pid);
    }
    const [nats = Number.NaN] = await childrenOf(lead.daemon.pid);
    return { url, tokenFile, pids: { coordinator: lead.daemon.pid, nats, workers }, end };
  } catch (error) {
    await end();
    throw error;
  }
}

async function startDaemon(home: string, settings: object): Promise<{ daemon: Running; apiUrl: string | undefined }> {
  await mkdir(home, { recursive: true, mode: 0o700 });
  // JSON is YAML.
  await writeFile(path.join(home, "cluster.yaml"), JSON.stringify(settings), { mode: 0o600 });
  const daemon = run(process.execPath, [COMMAND, "start", "--home", home, "--json"]);
  const up = JSON.parse(await daemon.says(/(\{.*\})\n/s)) as { apiUrl?: string };
  return { daemon, apiUrl: up.apiUrl };
}
