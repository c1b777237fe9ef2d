/**
 * The nats-server that a coordinator runs for its cluster, in a folder of its own.
 *
 * S1. `authorize` changes who may connect without disturbing who stays: the new file is tried by the program itself
 *     (`-t`), renamed into place, and taken by a reload whose answer is awaited; if the server refuses it, the old file
 *     comes back, and if it keeps silent, the new one stays. Reloading goes through the system account, which, unlike SIGHUP, works on Windows and answers.
 * S2. The port stays the same over restarts, of the server and of the coordinator: the nodes know it.
 * S3. The key of the system account lives in this process's memory only.
 * S4. A certificate has a file of its own name, so that another one comes and goes with the configuration that names it (S1).
 * S5. One of several (nats-routes.ts) differs in nothing else: who leads calls its own server's `authorize`, as the other daemons
 *     do theirs, and what the events of all servers tell reaches each of them.
 */
import { mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Trust } from "@openclaw-cluster/contract/client/certificate";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { execa } from "execa";
import { bracketed, needsTls, ownSide } from "../system/address.ts";
import type { Clock } from "../system/clock.ts";
import { readTextFile, writePrivateFile } from "../system/folders.ts";
import { choosePort } from "../system/free-port.ts";
import { endStale, startKept, type KeptProgram } from "../system/kept-program.ts";
import type { Log } from "../system/log.ts";
import { programEnvironment } from "../system/program-environment.ts";
import type { ServerCertificate } from "../trust/authority.ts";
import { createNodeKeys } from "../trust/keys.ts";
import type { BusServer, Subscription } from "./bus.ts";
import { authorityFile, certificateFile, sweepCertificates, writeAuthority, writeCertificate } from "./nats-certificate.ts";
import { natsConfig, type BusNode, type NatsConfig } from "./nats-config.ts";
import { busError, openConnection, type Connection } from "./nats-connection.ts";
import { forgetGroups, newServerName, storeFolder } from "./nats-folder.ts";
import { removePeer } from "./nats-peers.ts";
import { callRoll, type Roll } from "./nats-roll.ts";
import type { NatsCluster } from "./nats-routes.ts";
import { watchNodes } from "./nats-watch.ts";

export interface NatsServerOptions {
  readonly binary: string;
  /** Its configuration, log, pid file and streams; nobody else's. One daemon at a time, which the caller sees to. */
  readonly folder: string;
  /** Without a certificate a loopback or tailnet address. */
  readonly host?: string;
  readonly certificate?: ServerCertificate;
  /** Asked for explicitly: this one or none. 0: any free one. Absent: 4222, or a free one. */
  readonly port?: number;
  readonly coordinator: { readonly publicKey: string };
  readonly nodes: readonly BusNode[];
  /** It is one of several; absent: it is alone. Which of the two it is changes with another start only (nats-changing-server.ts). */
  readonly cluster?: NatsCluster;
  readonly log: Log;
  readonly clock: Clock;
}

export interface NatsServer extends BusServer {
  /** As it was last taken. */
  readonly present: Changing;
  /** Absent while it is being started again. */
  readonly pid: number | undefined;
  onDisconnect(listener: (node: NodeId) => void): Subscription;
  isConnected(node: NodeId): boolean;
  onTrespass(listener: (node: NodeId, what: string) => void): Subscription;
  onGuess(listener: (address: string, key: string | undefined) => void): Subscription;
  /** Shows this one from the next connection on; only where it had one. Who is connected stays. */
  renew(certificate: ServerCertificate): Promise<void>;
  /** Of one of several: who the others are now, and what it shows them from the next route on. Who is connected stays. */
  regroup(change: Partial<Pick<NatsCluster, "routes" | "certificate">>): Promise<void>;
  /** Those that answer: itself, and where it is one of several the others that it reaches. */
  servers(): Promise<Roll>;
  /** The server of this name is gone for good: nothing waits for it any more. Any of those that stay may ask it. */
  removePeer(serverName: string): Promise<void>;
}

/** What nats-server runs with, beside what stays the same. */
export interface Changing {
  readonly nodes: readonly BusNode[];
  readonly certificate: ServerCertificate | undefined;
  readonly cluster: NatsCluster | undefined;
}

/** NATS's usual one. */
const PORT = 4222;
/** Streams of a few GiB are checked at the start. */
const START_MS_MAX = 30_000;
const RELOAD_MS_MAX = 10_000;
const RELOAD_ANSWER_MS_MAX = 5_000;
const RETRY_MS = 100;

export async function startNatsServer(options: NatsServerOptions): Promise<NatsServer> {
  const { folder, log } = options;
  const host = hostOf(options);
  const [configFile, logFile] = [join(folder, "nats.conf"), join(folder, "nats-server.log")];
  const args = ["-c", configFile];
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const place = { name: "nats-server", folder, log };
  await endStale({ ...place, mark: args });
  const port = await choosePort(host, options.port, portOf(await readTextFile(configFile)), PORT);
  const serverName = options.cluster?.serverName ?? newServerName();
  const systemKeys = createNodeKeys();
  const write = writerFor(options, { host, port, serverName, systemKey: systemKeys.publicKey });
  const first = { nodes: options.nodes, certificate: options.certificate, cluster: options.cluster };
  const state = { ...first, text: write(first) };
  const prepare = async (): Promise<void> => {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await writeCertificates(folder, state);
    await writePrivateFile(configFile, state.text);
  };
  const server = await startKept({ ...place, binary: options.binary, args, clock: options.clock, prepare });
  await sweepCertificates(folder, state.text);
  const url = `${options.certificate === undefined ? "nats" : "tls"}://${bracketed(ownSide(host))}:${port}`;
  const trust = trustIn(options.certificate);
  const system = await firstAnswer(server, { url, trust, seed: systemKeys.seed, serverName, log }).catch(async (error: unknown) => {
    await server.stop();
    throw error;
  });
  if (options.cluster === undefined) await forgetGroups(folder);
  const watch = await watchNodes({
    system,
    clustered: options.cluster !== undefined,
    file: logFile,
    clock: options.clock,
    log,
    nodes: () => state.nodes,
  });

  const changes = changesOf({ binary: options.binary, folder, configFile, state, write, system });
  return {
    ...watch,
    url,
    version: system.nc.info?.version ?? "",
    present: state,
    get pid() {
      return server.pid;
    },
    authorize: (nodes) => changes.change({ nodes: [...nodes] }),
    renew: (certificate) => changes.change({ certificate }),
    async regroup(its) {
      if (state.cluster === undefined)
        throw new ClusterError("config_invalid", "this nats-server is alone; it becomes one of several by another start");
      await changes.change({ cluster: { ...state.cluster, ...its } });
    },
    servers: () => callRoll(system, state.cluster === undefined ? "alone" : "cluster"),
    removePeer: (name) => removePeer(system, name),
    async stop() {
      await changes.done();
      watch.stop();
      await system.close();
      await server.stop();
    },
  };
}

interface ChangeParts {
  readonly binary: string;
  readonly folder: string;
  readonly configFile: string;
  readonly state: Changing & { text: string };
  write(changing: Changing): string;
  readonly system: Connection;
}

/** S1. One change after the other. */
function changesOf({ binary, folder, configFile, state, write, system }: ChangeParts): {
  change(what: Partial<Changing>): Promise<void>;
  done(): Promise<void>;
} {
  const apply = async (change: Partial<Changing>): Promise<void> => {
    const before = { ...state };
    const next = { nodes: state.nodes, certificate: state.certificate, cluster: state.cluster, ...change };
    const text = write(next);
    await writeCertificates(folder, next);
    if (text !== before.text) await replaceConfig(binary, configFile, text);
    Object.assign(state, { ...next, text });
    try {
      await reload(system);
    } catch (error) {
      // One that gave no answer may have taken it, and reads it when it starts again.
      if (!isRefusal(error)) throw error;
      Object.assign(state, before);
      await writePrivateFile(configFile, before.text);
      throw error;
    }
    await sweepCertificates(folder, text);
  };
  let last: Promise<void> = Promise.resolve();
  return {
    change(what) {
      const done = last.then(() => apply(what));
      // Who waits for this one hears of its failure, the next one need not.
      last = done.catch(() => undefined);
      return done;
    },
    done: () => last,
  };
}

function hostOf({ host = "127.0.0.1", certificate }: NatsServerOptions): string {
  if (certificate !== undefined || !needsTls(host)) return host;
  throw new ClusterError("config_invalid", `without a certificate nats-server listens on the loopback or the tailnet only, not on ${host}`);
}

function writerFor(
  { folder, coordinator }: NatsServerOptions,
  fixed: Pick<NatsConfig, "host" | "port" | "serverName" | "systemKey">,
): (changing: Changing) => string {
  return ({ nodes, certificate, cluster }) =>
    natsConfig({
      ...fixed,
      storeFolder: storeFolder(folder),
      logFile: join(folder, "nats-server.log"),
      coordinatorKey: coordinator.publicKey,
      nodes,
      ...(certificate !== undefined && { certificateFile: certificateFile(folder, certificate) }),
      ...(cluster !== undefined && {
        cluster: {
          ...cluster,
          files: { certificate: certificateFile(folder, cluster.certificate), authority: authorityFile(folder, cluster.certificate) },
        },
      }),
    });
}

async function writeCertificates(folder: string, { certificate, cluster }: Pick<Changing, "certificate" | "cluster">): Promise<void> {
  await writeCertificate(folder, certificate);
  await writeCertificate(folder, cluster?.certificate);
  if (cluster !== undefined) await writeAuthority(folder, cluster.certificate);
}

async function firstAnswer(
  server: KeptProgram,
  options: { url: string; trust: Trust | undefined; seed: Uint8Array; serverName: string; log: Log },
): Promise<Connection> {
  const giveUp = new AbortController();
  const died = server.firstExit.then(() => {
    throw new ClusterError("internal", `nats-server ended at once: ${server.lastWords.trim() || "see nats-server.log"}`);
  });
  const { url, trust, seed, log } = options;
  const connecting = openConnection({
    urls: [url],
    trust,
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
    if (error instanceof ClusterError && ["unauthorized", "certificate_refused"].includes(error.code))
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
      if (!error.row.retryable || isRefusal(error) || performance.now() - start > RELOAD_MS_MAX) throw error;
      await delay(RETRY_MS);
    }
  }
}

const isRefusal = (error: unknown): boolean => error instanceof ClusterError && error.code === "internal";

function trustIn(certificate: ServerCertificate | undefined): Trust | undefined {
  return certificate && { authorities: [certificate.authority], file: "this coordinator's own folder" };
}

function portOf(config: string | undefined): number | undefined {
  const port = /^listen: ".*:(\d+)"$/m.exec(config ?? "")?.[1];
  return port === undefined ? undefined : Number(port);
}
