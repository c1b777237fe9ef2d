/** A private Redis for the comparison: free port, own folder, ended with the benchmark. */
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { run, type Running } from "../child.ts";

export type Sync = "everysec" | "always";

export async function startRedis(sync: Sync): Promise<{ port: number; pid: number; end(): Promise<void> }> {
  const folder = await mkdtemp(path.join(tmpdir(), "openclaw-cluster-redis-"));
  const port = await freePort();
  const argv = [
    "--port",
    String(port),
    "--bind",
    "127.0.0.1",
    "--dir",
    folder,
    "--appendonly",
    "yes",
    "--appendfsync",
    sync,
    "--save",
    "",
    "--maxmemory-policy",
    "noeviction",
  ];
  let redis: Running;
  try {
    redis = run(process.env["REDIS_SERVER_BIN"] ?? "redis-server", argv);
    await redis.says(/Ready to accept connections/);
  } catch (error) {
    throw new Error("The comparison needs redis-server: sudo apt install redis-server, or REDIS_SERVER_BIN=/path/to/it.", { cause: error });
  }
  return {
    port,
    pid: redis.pid,
    end: async () => {
      await redis.end();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
