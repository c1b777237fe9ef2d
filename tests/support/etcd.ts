/**
 * A real etcd of one member for one test file: free ports, a temporary folder. The program comes from the same resolver as the
 * product's. Each store gets a prefix of its own.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EtcdClient } from "../../cluster/src/store/etcd-client.ts";
import { openEtcd } from "../../cluster/src/store/etcd-gateway.ts";
import { resolveBinary } from "../../cluster/src/system/binaries.ts";
import { cacheFolder } from "../../cluster/src/system/folders.ts";
import { silentLog } from "../../cluster/src/system/log.ts";
import { programEnvironment } from "../../cluster/src/system/program-environment.ts";

export interface TestEtcd {
  readonly client: EtcdClient;
  readonly url: string;
  readonly pid: number;
  /** A new one each time. */
  prefix(): string;
  stop(): Promise<void>;
}

const READY_MS_MAX = 30_000;
const POLL_MS = 50;

export async function startTestEtcd({ quotaBytes }: { quotaBytes?: number } = {}): Promise<TestEtcd> {
  const { path } = await resolveBinary("etcd", { cacheFolder: cacheFolder(process.env), log: silentLog });
  const folder = await mkdtemp(join(tmpdir(), "ocx-etcd-"));
  const [clients, peers] = (await Promise.all([freePort(), freePort()])).map((port) => `http://127.0.0.1:${port}`) as [string, string];
  const args = [
    ...["--name", "test", "--data-dir", join(folder, "data"), "--log-level", "error"],
    ...["--listen-client-urls", clients, "--advertise-client-urls", clients],
    ...["--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", `test=${peers}`],
    ...(quotaBytes === undefined ? [] : ["--quota-backend-bytes", String(quotaBytes)]),
  ];
  const child = spawn(path, args, { stdio: "ignore", env: programEnvironment(process.env) });
  const client = openEtcd({ endpoints: [clients] });
  let prefixes = 0;
  const stop = async (): Promise<void> => {
    client.close();
    if (child.exitCode === null && child.signalCode === null) {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await ready(client);
  } catch (error) {
    await stop();
    throw error;
  }
  return { client, url: clients, pid: child.pid as number, prefix: () => `t${(prefixes += 1)}/`, stop };
}

async function ready(client: EtcdClient): Promise<void> {
  const until = performance.now() + READY_MS_MAX;
  for (;;) {
    try {
      return void (await client.range({ from: "a", to: "b" }));
    } catch (error) {
      if (performance.now() > until) throw error;
      await new Promise((wake) => setTimeout(wake, POLL_MS));
    }
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
