/**
 * Starts a program that is limited from its first instruction on: a shell of the system's sets the limits upon itself,
 * enters the attempt's control groups, and then becomes the program (or the sandbox around it). Node's own spawn knows
 * no limits, and what is laid upon a process after its start comes too late for what it has started meanwhile.
 *
 * N1. No word of the task is ever part of the shell's text: all of them are its arguments, handed on as they are.
 * N2. Where a limit cannot be laid on, the program is not started, and the end says so.
 * N3. Priority, and the kernel's choice of whom to end when memory is short, come after the start: they only favour others.
 */
import { spawn, type ChildProcessByStdio } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import os from "node:os";
import type { Readable, Writable } from "node:stream";

export type Child = ChildProcessByStdio<Writable | null, Readable, Readable>;

export interface Launch {
  readonly file: string;
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly stdin: string | undefined;
  readonly openFiles: number;
  readonly fileMiB: number;
  /** Beyond the processes that this user has now: a rough hold where no control group counts them. */
  readonly processes?: number | undefined;
  readonly nice: number;
  /** Of control groups, to write 0 into. */
  readonly doors: readonly string[];
  /** Stands before the program: a sandbox. */
  readonly before: readonly string[];
  /** The program's own from FIRST_DESCRIPTOR on; they stay open here. */
  readonly descriptors: readonly number[];
}

/** After stdin, stdout and stderr. */
export const FIRST_DESCRIPTOR = 3;

/** The last words of a shell that could not become the program. */
const NOT_STARTED = "openclaw-cluster: the program was not started\n";
/** What a shell ends with then: 125 is ours, the others are those of `exec`. */
const NOT_STARTED_CODES: ReadonlySet<number | null> = new Set([2, 125, 126, 127]);
/**
 * $1 open files, $2 blocks of 512 bytes in one file, $3 processes of this user or nothing (`-u`, which dash calls -p), then
 * the doors, then `--`. Shells export names of their own; the list of names is the task's.
 */
const SCRIPT = `trap 'echo "${NOT_STARTED.trim()}" >&2' EXIT
unset PWD OLDPWD SHLVL
ulimit -n "$1" && ulimit -f "$2" || exit 125
[ -z "$3" ] || ulimit -u "$3" 2>/dev/null || ulimit -p "$3" 2>/dev/null || exit 125
shift 3
while [ "$1" != -- ]; do echo 0 >"$1" || exit 125; shift; done
shift
exec "$@"`;
const SHELL = "/bin/sh";
const BLOCKS_PER_MIB = 2_048;
const COUNT_MS = 5_000;
/** Ours is 0; the system's own services mostly have less than nothing. */
const OOM_SCORE = "500";

/** The running child, or why there is none. */
export function startProgram(launch: Launch): Promise<Child | Error> {
  const [file, ...args] = process.platform === "win32" ? [launch.file, ...launch.argv.slice(1)] : limited(launch);
  return new Promise((resolve) => {
    let child: Child;
    try {
      child = spawn(file as string, args, {
        cwd: launch.cwd,
        env: launch.environment,
        // A session of its own, so that the whole of it can be signalled and found.
        detached: process.platform !== "win32",
        windowsHide: true,
        stdio: [launch.stdin === undefined ? "ignore" : "pipe", "pipe", "pipe", ...launch.descriptors],
      }) as Child;
    } catch (error) {
      return resolve(error as Error);
    }
    if (child.pid !== undefined) standBack(child.pid, launch.nice);
    child.once("spawn", () => resolve(child));
    child.on("error", resolve);
    // EPIPE: the program ended, or closed its stdin, before it had read all. That is its own affair.
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(launch.stdin);
  });
}

/** The end of a program that never began; `stderr`: its last words. */
export function wasNotStarted(code: number | null, stderr: string): boolean {
  return NOT_STARTED_CODES.has(code) && stderr.endsWith(NOT_STARTED);
}

function limited({ file, argv, openFiles, fileMiB, processes, doors, before }: Launch): string[] {
  const files = String(Math.min(openFiles, hardOpenFiles()));
  // The kernel lets root start as many as it likes.
  const beyond = processes === undefined || process.getuid?.() === 0 ? "" : String(processes + ownProcesses());
  const blocks = String(fileMiB * BLOCKS_PER_MIB);
  return [SHELL, "-c", SCRIPT, "sh", files, blocks, beyond, ...doors, "--", ...before, file, ...argv.slice(1)];
}

/** What is lowered for this process already cannot be raised for its children. */
function hardOpenFiles(): number {
  if (process.platform !== "linux") return Infinity;
  const hard = /^Max open files +\S+ +(\d+)/m.exec(readFileSync("/proc/self/limits", "latin1"))?.[1];
  return hard === undefined ? Infinity : Number(hard);
}

let counted = { atMs: -Infinity, count: 0 };

/**
 * Of this user, with threads, as the kernel counts them against the limit. All of /proc is read for it, so what was
 * counted a moment ago serves again.
 */
function ownProcesses(): number {
  if (performance.now() - counted.atMs < COUNT_MS) return counted.count;
  const uid = String(process.getuid?.());
  let count = 0;
  for (const name of readdirSync("/proc")) {
    if (!/^[0-9]+$/.test(name)) continue;
    const status = readStatus(name);
    if (/^Uid:\s+(\d+)/m.exec(status)?.[1] === uid) count += Number(/^Threads:\s+(\d+)/m.exec(status)?.[1] ?? 0);
  }
  counted = { atMs: performance.now(), count };
  return count;
}

/** "" for one that is gone. */
function readStatus(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/status`, "latin1");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH") return "";
    throw error;
  }
}

/** N3 */
function standBack(pid: number, nice: number): void {
  try {
    // Whoever was started with less keeps it.
    os.setPriority(pid, Math.max(nice, os.getPriority()));
    if (process.platform !== "linux") return;
    writeFileSync(`/proc/${pid}/oom_score_adj`, OOM_SCORE);
    // Where the kernel shares processors out among sessions, the number of the process counts within its session only.
    writeFileSync(`/proc/${pid}/autogroup`, String(nice));
  } catch (error) {
    // Ended already, or a kernel without that file.
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ESRCH" && code !== "ENOENT" && code !== "EPERM" && code !== "EACCES") throw error;
  }
}
