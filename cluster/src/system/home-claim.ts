/**
 * One daemon per home. A second one would be the same node twice: two workers would share one spool, and each would end
 * the other's commands as left behind by an earlier life.
 *
 * C1. The claim is SQLite's own exclusive lock on an empty file. It holds on every system, and goes with the process
 *     however that ends, so nothing stale is ever left to judge.
 */
import { existsSync } from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { ClusterError } from "@openclaw-cluster/contract/errors";

/** A daemon that is just going down needs a moment to let go. */
const WAIT_MS = 250;
const SQLITE_BUSY = 5;

/** Whether a daemon has it just now. `folder`: as for claimHome. */
export function isClaimed(folder: string): boolean {
  // Asking must not make what is not there.
  if (!existsSync(path.join(folder, LOCK))) return false;
  try {
    claimHome(folder, folder).release();
    return false;
  } catch (error) {
    if (error instanceof ClusterError && error.code === "already_running") return true;
    throw error;
  }
}

export const LOCK = "daemon.lock";

/** `folder`: where the lock's file lies. Throws already_running while another process has it. */
export function claimHome(home: string, folder: string): { release(): void } {
  const lock = new DatabaseSync(path.join(folder, LOCK), { timeout: WAIT_MS });
  try {
    lock.exec("BEGIN EXCLUSIVE");
  } catch (cause) {
    lock.close();
    if ((cause as { errcode?: number }).errcode !== SQLITE_BUSY) throw cause;
    throw new ClusterError("already_running", `Another daemon runs in ${home}.`, { cause });
  }
  return { release: () => lock.close() };
}
