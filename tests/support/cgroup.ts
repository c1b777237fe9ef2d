/** A control group of the kernel that limits what a process and its children may take together: for tests, as root, on Linux. */
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";

export interface ControlGroup {
  /** The command line that a program stands behind, to run in it from its start on. */
  readonly under: readonly string[];
  /** When everything in it has ended. */
  remove(): Promise<void>;
}

const ROOT = "/sys/fs/cgroup";
const EMPTY_LOOKS_MAX = 50;
const LOOK_MS = 100;

/** Why there can be none here; undefined where there can. */
export function noControlGroups(): string | undefined {
  if (process.platform !== "linux") return "control groups are Linux's";
  if (process.getuid?.() !== 0) return "control groups need root";
  return existsSync(path.join(ROOT, "pids")) && existsSync(path.join(ROOT, "memory")) ? undefined : "needs cgroup v1 with pids and memory";
}

/** `processes` counts threads too, as the kernel does. */
export function makeControlGroup(name: string, limit: { readonly processes: number } | { readonly memoryMiB: number }): ControlGroup {
  const [controller, file, value] =
    "processes" in limit ? ["pids", "pids.max", limit.processes] : ["memory", "memory.limit_in_bytes", limit.memoryMiB * 1024 * 1024];
  const folder = path.join(ROOT, controller, name);
  mkdirSync(folder);
  writeFileSync(path.join(folder, file), String(value));
  return {
    under: ["/bin/sh", "-c", 'echo 0 >"$1" && shift && exec "$@"', "sh", path.join(folder, "cgroup.procs")],
    async remove() {
      for (let look = 0; ; look++) {
        try {
          return rmdirSync(folder);
        } catch (error) {
          // EBUSY: somebody in it is still ending.
          if ((error as NodeJS.ErrnoException).code !== "EBUSY" || look === EMPTY_LOOKS_MAX) throw error;
        }
        await pause(LOOK_MS);
      }
    },
  };
}
