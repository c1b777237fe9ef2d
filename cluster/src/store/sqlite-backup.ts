/**
 * A copy of a database at work, page by page on another thread. SQLite carries every commit made meanwhile over into
 * the copy, so the copy is as of its end.
 *
 * Node's backup() takes a first step that meets an open transaction for a failure (errcode 0, "not an error", in 26.10);
 * later steps it repeats. So the database's owner begins no write before `begun`, which comes after a millisecond.
 */
import { closeSync, existsSync, openSync, renameSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { backup, type DatabaseSync } from "node:sqlite";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { PARTIAL } from "../system/backup-files.ts";
import { failpoint } from "../system/failpoint.ts";
import { syncFolder } from "../system/synced-folder.ts";
import { translateInBackup } from "./sqlite-errors.ts";

/** A step holds the database, and a commit waits for it: about half a millisecond. */
const PAGES_PER_STEP = 100;

export interface Copying {
  /** The first step is done, or there will be none. Never rejects. */
  readonly begun: Promise<void>;
  readonly done: Promise<void>;
}

/** Nothing stands at `path` before the copy is whole and synced; what stands there already is never overwritten. */
export function copyDatabase(database: DatabaseSync, path: string): Copying {
  const begun = Promise.withResolvers<void>();
  return { begun: begun.promise, done: copy(database, path, begun.resolve).finally(begun.resolve) };
}

async function copy(database: DatabaseSync, path: string, onStep: () => void): Promise<void> {
  if (existsSync(path)) throw new ClusterError("bad_request", `There is a file at ${path} already; name a new one for the backup.`);
  const partial = path + PARTIAL;
  try {
    rmSync(partial, { force: true });
    closeSync(openSync(partial, "wx", 0o600));
    await backup(database, partial, { rate: PAGES_PER_STEP, progress: onStep });
    failpoint("backup.copied");
    renameSync(partial, path);
    syncFolder(dirname(path));
  } catch (error) {
    rmSync(partial, { force: true });
    throw translateInBackup(error, path);
  }
}
