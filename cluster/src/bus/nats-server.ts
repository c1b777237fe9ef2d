/**
 * The nats-server that a coordinator runs for its cluster, in a folder of its own.
 *
 * S1. `authorize` changes who may connect without disturbing who stays: the new file is tried by the program itself
 *     (`-t`), renamed into place, and taken by a reload whose answer is awaited; if the server refuses it, the old file
 *     comes back. Reloading goes through the system account, which, unlike SIGHUP, works on Windows and answers.
 * S2. The port stays the same over restarts, of the server and of the coordinator: the nodes know it.
 * S3. The key of the system account lives in this process's memory only.
 */
import { randomBytes } from "node:crypto";
import { mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { execa } from "execa";
import { bracketed, reachOf } from "../system/address.ts";
import type { Clock } from "../system/clock.ts";
import { readTextFile, writePrivateFile } from "../system/folders.ts";
import type { Log } from "../system/log.ts";
import { programEnvironment } from "../system/program-environment.ts";
import { createNodeKeys } from "../trust/keys.ts";
import type { BusServer, Subscription } from "./bus.ts";
import { natsConfig, type BusNode } from "./nats-config.ts";
import { busError, openConnection, type Connection } from "./nats-connection.ts";
import { choosePort } from "./nats-port.ts";
import { endStaleServer, startNatsProcess, type NatsProcess } from "./nats-process.ts";
import { watchNodes } from "./nats-watch.ts";

export interface NatsServerOptions {
  readonly binary: string;
  /** Its configuration, log, pid file and streams; nobody else's. One daemon at a time, which the caller sees to. */
  readonly folder: string;
  /** A loopback or tailnet address: it speaks without TLS. */
  readonly host?: string;
  /** Asked for explicitly: this one or none. 0: any free one. Absent: 4222, or a free one. */
  readonly port?: number;
  readonly coordinator: { readonly publicKey: string };
  readonly nodes: readonly BusNode[];
  readonly log: Log;
  readonly clock: Clock;
}

export interface NatsServer extends BusServer {
  /** Absent while it is being started again. */
  readonly pid: number | undefined;
  onDisconnect(listener: (node: NodeId) => void): Subscription;
  isConnected(node: NodeId): boolean;
  onTrespass(listener: (node: NodeId, what: string) => void): Subscription;
  onGuess(listener: (address: string, key: string | undefined) => void): Subscription;
}

/** Streams of a few GiB are checked at the start. */
const START_MS_MAX = 30_000;
const RELOAD_MS_MAX = 10_000;
const RELOAD_ANSWER_MS_MAX = 5_000;
const RETRY_MS = 100;

export async function startNatsServer(options: NatsServerOptions): Promise<NatsServer> {
  const { folder, log } = options;
  const host = options.host ?? "127.0.0.1";
  if (reachOf(host) === "elsewhere")
    throw new ClusterError("config_invalid", `nats-server listens on the loopback or the tailnet only, not on ${host}`);
  const [configFile, logFile] = [join(folder, "nats.conf"), join(folder, "nats-server.log")];
  const args = ["-c", configFile];
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await endStaleServer(folder, args, log);
  const port = await choosePort(host, options.port, portOf(await readTextFile(configFile)));
  const serverName = `ocx-${randomBytes(6).toString("hex")}`;
  const systemKeys = createNodeKeys();
  const write = (nodes: readonly BusNode[]): string =>
    natsConfig({
      host,
      port,
      serverName,
      storeFolder: join(folder, "streams"),
      logFile,
      coordinatorKey: options.coordinator.publicKey,
      systemKey: systemKeys.publicKey,
      nodes,
    });
  const state = { nodes: options.nodes, text: write(options.nodes) };
  const prepare = async (): Promise<void> => {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await writePrivateFile(configFile, state.text);
  };
  const server = await startNatsProcess({ binary: options.binary, args, folder, log, clock: options.clock, prepare });
  const url = `nats://${bracketed(host)}:${port}`;
  const system = await firstAnswer(server, { url, seed: systemKeys.seed, serverName, log }).catch(async (error: unknown) => {
    await server.stop();
    throw error;
  });
  const watch = await watchNodes({ system, file: logFile, clock: options.clock, log, nodes: () => state.nodes });

  const apply = async (nodes: readonly BusNode[]): Promise<void> => {
    const text = write(nodes);
    const before = { ...state };
    if (text !== before.text) await replaceConfig(options.binary, configFile, text);
    Object.assign(state, { nodes: [...nodes], text });
    try {
      await reload(system);
    } catch (error) {
      Object.assign(state, before);
      await writePrivateFile(configFile, before.text);
      throw error;
    }
  };
  let last: Promise<void> = Promise.resolve();
  return {
    ...watch,
    url,
    version: system.nc.info?.version ?? "",
    get pid() {
      return server.pid;
    },
    authorize(nodes) {
      const done = last.then(() => apply(nodes));
      // One after the other; who waits for this one hears of its failure, the next one need not.
      last = done.catch(() => undefined);
      return done;
    },
    async stop() {
      await last;
      watch.stop();
      await system.close();
      await server.stop();
    },
  };
}

async function firstAnswer(
  server: NatsProcess,
  options: { url: string; seed: Uint8Array; serverName: string; log: Log },
): Promise<Connection> {
  const giveUp = new AbortController();
  const died = server.firstExit.then(() => {
    throw new ClusterError("internal", `nats-server ended at once: ${server.lastWords.trim() || "see nats-server.log"}`);
  });
  const { url, seed, log } = options;
  const connecting = openConnection({
    urls: [url],
    seed,
    inboxPrefix: "_INBOX_SYSTEM",
    name: "system",
    log,
    firstConnectMs: START_MS_MAX,
    signal: giveUp.signal,
  });
  try {
    const system = await Promise.race([connecting, died]);
    if (system.nc.info?.server_name === options.serverName) return system;
    await system.close();
    throw new ClusterError("port_taken", `another NATS server answers at ${url}`);
  } catch (error) {
    giveUp.abort();
    if (error instanceof ClusterError && error.code === "unauthorized")
      throw new ClusterError("port_taken", `another NATS server answers at ${url}`, { cause: error });
    throw error;
  }
}

/** The program's own judgement first: a file that it cannot read must never be in place when it starts again. */
async function replaceConfig(binary: string, file: string, text: string): Promise<void> {
  const next = `${file}.next`;
  await writePrivateFile(next, text);
  try {
    await execa(binary, ["-t", "-c", next], {
      env: programEnvironment(process.env),
      extendEnv: false,
      stdin: "ignore",
      timeout: RELOAD_MS_MAX,
    });
    await rename(next, file);
  } catch (cause) {
    await rm(next, { force: true });
    throw new ClusterError("internal", "nats-server refuses its new configuration; the old one stays", { cause });
  }
}

/** While the server is being started again there is nobody to ask; afterwards it has read the file, and asking does no harm. */
async function reload(system: Connection): Promise<void> {
  const start = performance.now();
  for (;;) {
    try {
      if (!system.connected) throw new ClusterError("bus_unreachable", "nats-server is not running");
      const subject = `$SYS.REQ.SERVER.${system.nc.info?.server_id}.RELOAD`;
      const answer = await system.nc.request(subject, "", { timeout: RELOAD_ANSWER_MS_MAX });
      const { error } = answer.json<{ error?: { description?: string } }>();
      if (error !== undefined) throw new ClusterError("internal", `nats-server refuses to reload: ${error.description}`);
      return;
    } catch (thrown) {
      const error = busError(thrown, "reload of nats-server");
      if (!error.row.retryable || error.code === "internal" || performance.now() - start > RELOAD_MS_MAX) throw error;
      await delay(RETRY_MS);
    }
  }
}

function portOf(config: string | undefined): number | undefined {
  const port = /^listen: ".*:(\d+)"$/m.exec(config ?? "")?.[1];
  return port === undefined ? undefined : Number(port);
}
