/**
 * Finds processes that a test run left behind. Every run has an id of its own, which stands in the environment of what
 * it starts, in the name of its temporary folder, and so in the environment, the working folder or the command line of
 * whatever its tests start, even through a program that hands on an environment of its own.
 *
 * Linux only: elsewhere there is no /proc to read, and the list is empty.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

export interface LeakedProcess {
  readonly pid: number;
  readonly command: string;
}

/** A process that was told to end may need this long; what is still there then was left behind. */
const GRACE_MS = 5_000;
const POLL_MS = 100;
const COMMAND_CHARS_MAX = 200;

/** Empty where the process has ended, is another user's, or has no such link. */
function readOf(pid: number, name: "environ" | "cmdline" | "stat" | "cwd"): string {
  try {
    return name === "cwd" ? readlinkSync(`/proc/${pid}/cwd`) : readFileSync(`/proc/${pid}/${name}`, "latin1");
  } catch {
    return ""; // Ended between the listing and the look: then it is no leak.
  }
}

/** A zombie is over; only its parent has not asked how it ended. */
const isZombie = (pid: number): boolean => /^\d+ \(.*\) [ZX]/s.test(readOf(pid, "stat"));

function belongsTo(pid: number, runId: string): boolean {
  const marked = (["environ", "cwd", "cmdline"] as const).some((name) => readOf(pid, name).includes(runId));
  return marked && !isZombie(pid);
}

export function processesOf(runId: string): LeakedProcess[] {
  if (process.platform !== "linux") return [];
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => pid > 0 && pid !== process.pid && belongsTo(pid, runId))
    .map((pid) => ({ pid, command: readOf(pid, "cmdline").replaceAll("\0", " ").trim().slice(0, COMMAND_CHARS_MAX) }));
}

/** What is still there after the grace, ended now, each by its own id. */
export async function endLeakedProcesses(runId: string, graceMs = GRACE_MS): Promise<LeakedProcess[]> {
  const giveUpAt = performance.now() + graceMs;
  while (processesOf(runId).length > 0 && performance.now() < giveUpAt) {
    await new Promise((wake) => setTimeout(wake, POLL_MS));
  }
  const leaked = processesOf(runId);
  for (const { pid } of leaked) {
    try {
      process.kill(pid, "SIGKILL");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error; // It has just ended by itself.
    }
  }
  return leaked;
}
