/**
 * A real etcd for one test file: one member, or several, on free ports, in a temporary folder. The program comes from the same
 * resolver as the product's. Each store gets a prefix of its own.
 */
import { spawn, type ChildProcess } from "node:child_process";
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
  /** Asks all members. */
  readonly client: EtcdClient;
  /** Where each member answers. */
  readonly urls: readonly string[];
  /** Of each member's process. */
  readonly pids: readonly number[];
  /** A new one each time. */
  prefix(): string;
  /** Ends one member for good, as `kill -9`. */
  killMember(at: number): Promise<void>;
  stop(): Promise<void>;
}

interface Options {
  readonly members?: number;
  readonly quotaBytes?: number;
}

interface Addresses {
  readonly name: string;
  readonly clients: string;
  readonly peers: string;
}

const READY_MS_MAX = 30_000;
const POLL_MS = 50;

export async function startTestEtcd({ members = 1, quotaBytes }: Options = {}): Promise<TestEtcd> {
  const { path } = await resolveBinary("etcd", { cacheFolder: cacheFolder(process.env), log: silentLog });
  const folder = await mkdtemp(join(tmpdir(), "ocx-etcd-"));
  const all = await Promise.all(Array.from({ length: members }, (_, at) => addressesOf(`m${at}`)));
  const more = quotaBytes === undefined ? [] : ["--quota-backend-bytes", String(quotaBytes)];
  const env = programEnvironment(process.env);
  const children = all.map((one) => spawn(path, [...argumentsOf(one, all, folder), ...more], { stdio: "ignore", env }));
  const urls = all.map(({ clients }) => clients);
  const client = openEtcd({ endpoints: urls });
  let prefixes = 0;
  const stop = async (): Promise<void> => {
    client.close();
    await Promise.all(children.map(kill));
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await ready(client);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    client,
    urls,
    pids: children.map(({ pid }) => pid ?? 0),
    prefix: () => `t${(prefixes += 1)}/`,
    killMember: (at) => kill(children[at] as ChildProcess),
    stop,
  };
}

function argumentsOf({ name, clients, peers }: Addresses, all: readonly Addresses[], folder: string): string[] {
  return [
    // Processes die in these tests, machines do not; a slow disk would only make them slow.
    ...["--name", name, "--data-dir", join(folder, name), "--log-level", "error", "--unsafe-no-fsync"],
    ...["--listen-client-urls", clients, "--advertise-client-urls", clients],
    ...["--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers],
    ...["--initial-cluster", all.map((one) => `${one.name}=${one.peers}`).join(",")],
  ];
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGKILL");
  await once(child, "exit");
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

async function addressesOf(name: string): Promise<Addresses> {
  const [clients, peers] = await Promise.all([freePort(), freePort()]);
  return { name, clients: `http://127.0.0.1:${clients}`, peers: `http://127.0.0.1:${peers}` };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
