/**
 * Ends the programs of commands when the daemon that started them dies without a word: killed, crashed, out of memory.
 * Its next life would sweep them, but it may never come, and meanwhile another node has been given their tasks.
 *
 * A shell of one megabyte waits for the end of a pipe whose other end only the daemon holds. The kernel closes that end
 * however the daemon dies, and then the shell becomes a Node that ends every process with this life's mark
 * (process-tree.ts), and all that is in this life's control groups: the whole tree, while the kernel's own PR_SET_PDEATHSIG reaches the first
 * process only.
 *
 * U1. Only processes with the mark of this very life are ended; a life that began meanwhile keeps its own.
 * U2. It costs nothing before the first command, and goes with the daemon that ends in good order.
 * U3. Without it (no /bin/sh, Windows) commands run all the same; then the next start sweeps.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { randomUUID } from "node:crypto";
import type { Log } from "../system/log.ts";
import { ATTEMPT_GROUP_URL } from "./attempt-group.ts";
import type { Confinement } from "./confinement.ts";
import { PROCESS_TREE_URL } from "./process-tree.ts";

export interface CommandGuard {
  /** Goes into the environment of every program. */
  readonly mark: Readonly<Record<string, string>>;
  /** Sees to it that somebody watches; before each start of a program. */
  watch(log: Log): void;
  close(): void;
}

const MARK = "OPENCLAW_CLUSTER_LIFE";
/** `over` comes from a daemon that has ended all by itself. */
const WAIT = 'read -r word; [ "$word" = over ] || exec "$0" "$@"';
const SWEEP =
  "const [tree, mark, group, places, prefix] = process.argv.slice(1); const { endMarked } = await import(tree); " +
  "const { endGroups } = await import(group); await Promise.all([endMarked(mark), endGroups(JSON.parse(places), prefix)]);";

/** `ours`: the control groups of this life. */
export function openCommandGuard(ours: Confinement["ours"]): CommandGuard {
  const life = randomUUID();
  let watcher: ChildProcess | undefined;
  let closed = false;

  const start = (log: Log): ChildProcess => {
    const { places, prefix } = ours();
    const sweep = [PROCESS_TREE_URL, `${MARK}=${life}`, ATTEMPT_GROUP_URL, JSON.stringify(places), prefix];
    const argv = ["-c", WAIT, process.execPath, "--input-type=module", "-e", SWEEP, ...sweep];
    const child = spawn("/bin/sh", argv, {
      cwd: "/",
      env: { PATH: process.env["PATH"] },
      // A session of its own: what ends the daemon's terminal or group must not end its watcher first.
      detached: true,
      stdio: ["pipe", "ignore", "ignore"],
    });
    const gone = (error?: Error): void => {
      if (watcher !== child) return;
      watcher = undefined;
      if (!closed) log.warn({ err: error }, "the watcher over commands has ended; the next command starts another");
    };
    child.once("error", gone);
    child.once("exit", () => gone());
    // EPIPE: it is gone, which `exit` tells.
    child.stdin?.on("error", () => undefined);
    child.unref();
    (child.stdin as { unref?(): void } | null)?.unref?.();
    return child;
  };

  return {
    mark: { [MARK]: life },
    watch(log) {
      if (process.platform !== "win32" && !closed) watcher ??= start(log);
    },
    close() {
      closed = true;
      watcher?.stdin?.end("over\n");
    },
  };
}
