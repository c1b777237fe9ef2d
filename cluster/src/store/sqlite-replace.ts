/**
 * Puts another database in the place of the present one, which is set aside and never deleted: a backup that is restored, or a
 * store that was moved here.
 *
 * P1. Killed at any point, the next open finds the old database or the new one, whole and with its own log. The new one
 *     gets a name that means "this is the one" in one rename; from then on every open goes on with what is left to do.
 * P2. Whoever calls has claimed the home: nobody has either database open.
 */
import { existsSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname } from "node:path";
import type { Log } from "../system/log.ts";
import { stamp } from "../system/backup-files.ts";
import { failpoint } from "../system/failpoint.ts";
import { syncFolder } from "../system/synced-folder.ts";

interface Replacement {
  /** What the new database is called from its decision on until it has its place. */
  readonly decided: string;
  readonly aside: string;
  readonly told: string;
}

const RESTORED: Replacement = { decided: ".restored", aside: "replaced", told: "a restored database was put in place" };
const MOVED: Replacement = { decided: ".copied", aside: "moved", told: "the database into which the store was moved was put in place" };
const LOG = "-wal";
const SHARED = "-shm";

/** `draft` is whole, synced and closed. */
export function replaceDatabase(path: string, draft: string, log: Log): { setAside: string | undefined } {
  renameSync(draft, path + RESTORED.decided);
  syncFolder(dirname(path));
  failpoint("restore.decided");
  return { setAside: finishRestore(path, log) };
}

/** Goes on with a replacement that was decided. Gives where the database before it is now, if there was one. */
export function finishRestore(path: string, log: Log): string | undefined {
  return finish(path, RESTORED, log);
}

/** What a store is called that was moved here, until it has its place. Whether it gets that is for the settings to say. */
export function movedHere(path: string): string {
  return path + MOVED.decided;
}

/** Only where the settings say that the store is in SQLite. */
export function finishMove(path: string, log: Log): string | undefined {
  return finish(path, MOVED, log);
}

function finish(path: string, replacement: Replacement, log: Log): string | undefined {
  const decided = path + replacement.decided;
  if (!existsSync(decided)) return undefined;
  // The same name at each try, so that a database and its log stay together.
  const aside = `${path}.${replacement.aside}-${stamp(statSync(decided).mtimeMs)}`;
  rmSync(path + SHARED, { force: true });
  if (existsSync(path + LOG)) renameSync(path + LOG, aside + LOG);
  failpoint("restore.log-aside");
  if (existsSync(path)) renameSync(path, aside);
  failpoint("restore.set-aside");
  // Before the new one has the name: after a power cut it must not meet the old one's log.
  syncFolder(dirname(path));
  renameSync(decided, path);
  syncFolder(dirname(path));
  failpoint("restore.placed");
  const setAside = existsSync(aside) ? aside : undefined;
  log.warn({ path, setAside }, replacement.told);
  return setAside;
}
