/**
 * Daemons that a drill starts, on this machine: this very program, each with a home of its own, so that there is a process
 * to kill.
 *
 * D1. None outlives the drill, however that ends: each stops in good order when its stdin closes.
 * D2. Variables that hold the user's own settings do not reach them.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { ClusterError, ErrorCode } from "@openclaw-cluster/contract/errors";
import { foldersOf, writePrivateFile, type Environment } from "../../system/folders.ts";

const PROGRAM = fileURLToPath(new URL("../../../bin/openclaw-cluster.mjs", import.meta.url));
/** The first start of a coordinator may fetch nats-server. */
const UP_MS = 120_000;
/** In good order: a daemon gives running tasks 20 s. Then it is killed. */
const STOP_MS = 40_000;
const WORDS_MAX = 4_096;
/** Where programs lie is the machine's affair and no setting of a daemon. */
const KEPT: ReadonlySet<string> = new Set(["OPENCLAW_CLUSTER_CACHE", "OPENCLAW_CLUSTER_NATS_BIN"]);

export interface Daemon {
  readonly pid: number;
  /** Of one that leads. */
  readonly apiUrl: string | undefined;
  /** `kill -9`. Resolves when the process is gone. */
  kill(): Promise<void>;
  stop(): Promise<void>;
}

/** What a daemon with `--json` says of itself. */
interface Said {
  readonly apiUrl?: string;
  readonly error?: { readonly code: string; readonly detail: string };
}

/** cluster.yaml, and what may run there: probes and nothing else. */
export async function writeHome(home: string, settings: object): Promise<void> {
  const folders = foldersOf(home);
  await mkdir(home, { recursive: true, mode: 0o700 });
  // JSON is YAML.
  const common = { openclaw: { enabled: "off" }, log: { level: "warn" } };
  await writePrivateFile(folders.config, JSON.stringify({ ...common, ...settings }, null, 2));
  await writePrivateFile(folders.policy, JSON.stringify({ version: 1, allow: { echo: true } }, null, 2));
}

/** Resolves when it is up. One that is not when the signal aborts is ended. */
export async function startDaemon(home: string, env: Environment, signal: AbortSignal, ...more: readonly string[]): Promise<Daemon> {
  signal.throwIfAborted();
  const argv = [PROGRAM, "start", "--home", home, "--json", "--until-input-ends", ...more];
  const child = spawn(process.execPath, argv, { env: ownEnvironment(env), stdio: ["pipe", "pipe", "pipe"], windowsHide: true });
  const gone = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const stop = async (): Promise<void> => {
    child.stdin?.end();
    const force = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
    await gone;
    clearTimeout(force);
  };
  // A process that is gone closes its pipe; nobody has anything to tell it then.
  child.stdin?.on("error", () => undefined);
  try {
    const said = await firstWords(child, home, signal);
    return {
      pid: child.pid as number,
      apiUrl: said.apiUrl,
      kill: async () => {
        child.kill("SIGKILL");
        await gone;
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function ownEnvironment(env: Environment): Environment {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith("OPENCLAW_CLUSTER_") || KEPT.has(name)));
}

async function firstWords(child: ChildProcess, home: string, signal: AbortSignal): Promise<Said> {
  let told = "";
  let words = "";
  child.stderr?.on("data", (text: Buffer) => (words = (words + text.toString()).slice(-WORDS_MAX)));
  const document = new Promise<string>((resolve) => {
    child.stdout?.on("data", (text: Buffer) => {
      told = (told + text.toString()).slice(-WORDS_MAX);
      if (/^\}$/m.test(told)) resolve(told);
    });
  });
  const settled = new AbortController();
  const either = AbortSignal.any([signal, settled.signal]);
  const dead = async (): Promise<never> => {
    await once(child, "close", { signal: either });
    throw new ClusterError("worker_failed", `the daemon in ${home} ended before it was up: ${words.trim() || "it said nothing"}`);
  };
  const late = async (): Promise<never> => {
    await pause(UP_MS, undefined, { signal: either });
    throw new ClusterError("worker_failed", `the daemon in ${home} was not up within ${UP_MS} ms: ${words.trim()}`);
  };
  try {
    const said = JSON.parse(await Promise.race([document, dead(), late()])) as Said;
    if (said.error === undefined) return said;
    throw new ClusterError(ErrorCode.parse(said.error.code), `the daemon in ${home} did not start: ${said.error.detail}`);
  } finally {
    settled.abort();
  }
}
