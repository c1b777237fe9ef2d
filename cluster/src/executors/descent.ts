/** Whose child a process is, on Linux. */
import { readFileSync } from "node:fs";

/** No chain of parents is longer; one that were would be a circle. */
const GENERATIONS_MAX = 1_000;

export function descendsFrom(pid: number, ancestor: number): boolean {
  let at = pid;
  for (let generation = 0; generation < GENERATIONS_MAX && at > 1; generation++) {
    if (at === ancestor) return true;
    at = parentOf(at);
  }
  return false;
}

/** 0 for a process that is gone. */
function parentOf(pid: number): number {
  try {
    return Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1] ?? 0);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH") return 0;
    throw error;
  }
}
