/**
 * A server that the daemon runs for itself, as a child process: started, watched, started again when it dies, ended with us.
 *
 * P1. It never outlives this process for long: on Linux the kernel ends it with its parent (setpriv --pdeathsig), and
 *     everywhere the next start ends what the pid file still names, after a look at its command line.
 * P2. After a death it is started again with the same arguments, after 0.1 s at first, 30 s at most.
 * P3. It has a session of its own: Ctrl-C in the terminal reaches only us, and we end it last.
 * P4. Its environment holds none of our secrets.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { execa } from "execa";
import type { Clock, Timer } from "./clock.ts";
import { readTextFile, writePrivateFile } from "./folders.ts";
import type { Log } from "./log.ts";
import { programEnvironment } from "./program-environment.ts";

interface Place {
  /** The program's, as it is called everywhere. */
  readonly name: string;
  /** Holds the pid file; the program works in it. */
  readonly folder: string;
  readonly log: Log;
}

export interface KeptOptions extends Place {
  readonly binary: string;
  readonly args: readonly string[];
  readonly clock: Clock;
  /** Puts in place, before each start, what the program needs on disk. */
  prepare(): Promise<void>;
  /** Asked after each death. No: it stays ended for good. */
  isWanted?(): Promise<boolean>;
}

export interface KeptProgram {
  /** Absent while it is not running. */
  readonly pid: number | undefined;
  /** The last lines that it wrote to stderr; what it says when it cannot start. */
  readonly lastWords: string;
  /** Resolves at the first exit, whatever follows. */
  readonly firstExit: Promise<void>;
  stop(): Promise<void>;
}

const RESTART_MS = 100;
const RESTART_MS_MAX = 30_000;
/** After running this long a death counts as the first again. */
const HEALTHY_MS = 60_000;
/** For a polite end; JetStream and etcd close their files in well under a second. */
const TERM_MS_MAX = 5_000;
const POLL_MS = 20;
const WORDS_MAX = 2_048;

const pidFile = ({ name, folder }: Place): string => join(folder, `${name}.pid`);

export async function startKept(options: KeptOptions): Promise<KeptProgram> {
  const { name, log, clock } = options;
  const [file, args] = await withParent(options.binary, options.args);
  const exit = Promise.withResolvers<void>();
  let child: ChildProcess | undefined;
  let words = "";
  let deaths = 0;
  let stopping = false;
  let timer: Timer | undefined;

  const start = async (): Promise<void> => {
    await options.prepare();
    if (stopping) return;
    const startedAt = clock.monotonic();
    const started = spawn(file, args, {
      cwd: options.folder,
      env: programEnvironment(process.env),
      stdio: ["ignore", "ignore", "pipe"],
      detached: process.platform !== "win32",
      windowsHide: true,
    });
    child = started;
    started.stderr?.on("data", (chunk: Buffer) => (words = (words + chunk.toString("utf8")).slice(-WORDS_MAX)));
    const ended = (why: string): void => {
      if (child !== started) return;
      child = undefined;
      exit.resolve();
      if (stopping) return;
      deaths = clock.monotonic() - startedAt > HEALTHY_MS ? 0 : deaths + 1;
      const waitMs = Math.min(RESTART_MS * 2 ** Math.min(deaths, 20), RESTART_MS_MAX);
      log.error({ why, waitMs, lastWords: words }, `${name} ended; starting it again`);
      timer = clock.after(waitMs, () => void restart());
    };
    started.once("exit", (code, signal) => ended(signal ?? `exit ${code}`));
    started.once("error", (error) => ended(error.message));
    if (started.pid !== undefined) await writePrivateFile(pidFile(options), `${started.pid}\n`);
  };
  const restart = async (): Promise<void> => {
    try {
      if (options.isWanted === undefined || (await options.isWanted())) await start();
    } catch (error) {
      log.error({ err: error }, `${name} cannot be started; trying again`);
      timer = clock.after(RESTART_MS_MAX, () => void restart());
    }
  };

  await start();
  return {
    get pid() {
      return child?.pid;
    },
    get lastWords() {
      return words;
    },
    firstExit: exit.promise,
    async stop() {
      stopping = true;
      timer?.cancel();
      if (child?.pid !== undefined) await endProcess(child.pid);
      await rm(pidFile(options), { force: true });
    },
  };
}

/** The program, wrapped so that the kernel ends it with this process, where that can be had. */
async function withParent(binary: string, args: readonly string[]): Promise<[file: string, args: readonly string[]]> {
  const wrap = ["--pdeathsig", "TERM", "--"];
  if (process.platform !== "linux") return [binary, args];
  // BusyBox has a setpriv without this option.
  const { failed } = await execa("setpriv", [...wrap, "true"], { reject: false, stdin: "ignore", timeout: TERM_MS_MAX });
  return failed ? [binary, args] : ["setpriv", [...wrap, binary, ...args]];
}

/** Ends the server that a killed daemon left in this folder. A pid that now belongs to something else is let be. */
export async function endStale(options: Place & { mark: readonly string[] }): Promise<void> {
  const pid = Number((await readTextFile(pidFile(options))) ?? "0");
  if (!Number.isSafeInteger(pid) || pid <= 1 || !isAlive(pid) || !(await isOurs(pid, options))) return;
  options.log.warn({ pid }, `ending the ${options.name} that an earlier daemon left behind`);
  await endProcess(pid);
}

/** Whether its arguments hold the mark, which names this very folder; Windows tells only the program's name. */
async function isOurs(pid: number, { name, mark }: { name: string; mark: readonly string[] }): Promise<boolean> {
  const ask = async (file: string, ...rest: string[]): Promise<string> =>
    (await execa(file, rest, { reject: false, stdin: "ignore", timeout: TERM_MS_MAX })).stdout;
  if (process.platform === "win32") return (await ask("tasklist", "/FI", `PID eq ${pid}`, "/NH")).includes(name);
  if (process.platform === "linux") {
    const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    return command.includes(`\0${mark.join("\0")}\0`);
  }
  return (await ask("ps", "-ww", "-o", "command=", "-p", String(pid))).includes(mark.join(" "));
}

async function endProcess(pid: number): Promise<void> {
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    if (!isAlive(pid)) return;
    process.kill(pid, signal);
    for (let waited = 0; waited < TERM_MS_MAX && isAlive(pid); waited += POLL_MS) await delay(POLL_MS);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
