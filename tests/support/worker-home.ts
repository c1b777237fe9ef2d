/** What lies in a worker's folder while it runs, or after its death: attempts with their processes, and results without a verdict. */
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { TaskId } from "@openclaw-cluster/contract/ids";
import { processesOf } from "./leaked-processes.ts";

export const attemptFolder = (home: string, task: TaskId, attempt = 1): string =>
  path.join(home, "data", "worker", "attempts", `${task}.${attempt}`);

/** Linux only; elsewhere there seem to be none. */
export const attemptPids = (home: string, task: TaskId, attempt = 1): number[] =>
  // With the end of the folder's name, so that t1.1 is not t1.10.
  processesOf(`${attemptFolder(home, task, attempt)}\0`).map(({ pid }) => pid);

/** Results that the worker has not got rid of. */
export function spooledResults(home: string): number {
  const spool = new DatabaseSync(path.join(home, "data", "worker", "spool.db"), { readOnly: true });
  try {
    return Number(spool.prepare("SELECT count(*) AS count FROM result").get()?.["count"]);
  } finally {
    spool.close();
  }
}
