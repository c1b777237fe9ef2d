/**
 * Wires a daemon: reads who this machine is, opens the roles it has, and closes them in the opposite order. The only
 * room that names the real store, bus and executors.
 */
import path from "node:path";
import type { NodeId } from "@openclaw-cluster/contract/ids";
import { systemClock } from "../system/clock.ts";
import { keepNodeId, type ClusterConfig } from "../system/config.ts";
import { openDailyLog } from "../system/daily-log.ts";
import { armFailpoint, CRASH_AT } from "../system/failpoint.ts";
import { cacheFolder, foldersOf, makeFolders, type Environment } from "../system/folders.ts";
import { claimHome } from "../system/home-claim.ts";
import { OwnKey } from "../trust/own-key.ts";
import { asFault } from "./fault.ts";
import { VERSION, type Ground } from "./ground.ts";
import { finishForgetting, isDemoted } from "./handover.ts";
import { openControlRole } from "./control-role.ts";
import { openWitnessRole } from "./witness-role.ts";
import { openWorkRole } from "./work-role.ts";

export interface DaemonOptions {
  readonly config: ClusterConfig;
  readonly home: string;
  readonly env?: Environment;
  /** Gives the start up, where it waits for others. */
  readonly signal?: AbortSignal;
  /** One line for a person about a step that may take long. */
  onProgress?(text: string): void;
}

export interface Daemon {
  /** Where the API is, if this daemon leads. */
  readonly apiUrl?: string;
  readonly node: NodeId;
  readonly roles: readonly string[];
  /** In good order: offers go back, running attempts get time to end. */
  stop(): Promise<void>;
  /** Resolves with the reason when the daemon cannot go on; the process should then end. */
  readonly failed: Promise<Error>;
  /** Resolves when the coordinator asked this daemon to end in good order. */
  readonly dismissed: Promise<void>;
  /** Resolves when its settings are others now (it was promoted, or demoted): it should be stopped, and started with them. */
  readonly changed: Promise<void>;
}

/** undefined: the start was given up by the signal, and nothing is left open. */
export async function startDaemon(options: DaemonOptions): Promise<Daemon | undefined> {
  const { config, home, env = process.env, signal = new AbortController().signal } = options;
  // A report of a crash, where somebody asked Node for one, tells every variable; a token may be among them.
  process.report.excludeEnv = true;
  const willCrash = armFailpoint(env);
  const folders = foldersOf(home);
  await makeFolders(folders);
  const claim = claimHome(home, folders.data);
  await keepNodeId(home, config.nodeId);
  const { log, close: closeLog } = openDailyLog(folders, config.log.level, systemClock);
  if (willCrash) log.warn({ at: env[CRASH_AT] }, "this daemon is going to kill itself, as a test asked");
  const failed = Promise.withResolvers<Error>();
  const dismissed = Promise.withResolvers<void>();
  const changed = Promise.withResolvers<void>();
  const ground: Ground = {
    config,
    folders,
    env,
    cacheFolder: cacheFolder(env),
    clock: systemClock,
    log,
    keys: await OwnKey.open(folders.nodeSeed),
    signal,
    progress: (text) => options.onProgress?.(text),
    fail: (error) => {
      // Its etcd finds itself taken out of the cluster before it has begun anew as a worker.
      if (isDemoted(folders)) return changed.resolve();
      log.error({ err: error }, "the daemon cannot go on");
      failed.resolve(asFault(error));
    },
    leave: () => dismissed.resolve(),
    reopen: () => changed.resolve(),
  };
  // Closed last to first, also when a later step of the start fails.
  const open: (() => Promise<void>)[] = [async () => claim.release(), async () => closeLog()];
  const stop = async (): Promise<void> => {
    for (let close = open.pop(); close !== undefined; close = open.pop()) await close();
  };
  try {
    await finishForgetting(ground);
    const lead = config.roles.includes("coordinator") ? await openControlRole(ground, open) : undefined;
    if (config.roles.includes("witness")) await openWitnessRole(ground, open);
    if (config.roles.includes("worker")) await openWorkRole(ground, lead, open);
    log.info({ node: config.nodeId, roles: config.roles, version: VERSION, data: path.basename(folders.data) }, "up");
    return {
      ...(lead !== undefined && { apiUrl: lead.apiUrl }),
      node: config.nodeId,
      roles: config.roles,
      stop,
      failed: failed.promise,
      dismissed: dismissed.promise,
      changed: changed.promise,
    };
  } catch (error) {
    const givenUp = signal.aborted && error === signal.reason;
    if (givenUp) log.info("the start was given up, as asked");
    else log.error({ err: error }, "the start failed");
    await stop();
    if (givenUp) return undefined;
    throw asFault(error);
  }
}
