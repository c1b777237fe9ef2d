/** A backup in the place of this home's database: found, checked, made safe, put in place. Not while the daemon runs. */
import { existsSync } from "node:fs";
import path from "node:path";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { prepareRestore, discard, type RestoreReport } from "../store/sqlite-restore.ts";
import { finishMove, replaceDatabase } from "../store/sqlite-replace.ts";
import { listBackups, type BackupFile } from "../system/backup-files.ts";
import { systemClock } from "../system/clock.ts";
import { loadConfig, type ClusterConfig } from "../system/config.ts";
import { armFailpoint } from "../system/failpoint.ts";
import { foldersOf, makeFolders, type Environment, type Folders } from "../system/folders.ts";
import { claimHome } from "../system/home-claim.ts";
import { silentLog } from "../system/log.ts";
import { restoreIdentity } from "./identity.ts";

export interface Restored extends RestoreReport {
  readonly source: string;
  /** Where the database before it is now; undefined where there was none, or nothing was put in place. */
  readonly setAside?: string;
}

interface Place {
  readonly home: string;
  readonly env: Environment;
}

export interface RestoreRequest extends Place {
  /** A name out of the folder of backups, or any other file's path. */
  readonly file: string;
  /** Everything but putting it in place. */
  readonly dryRun: boolean;
  onProgress?(doneBytes: number, ofBytes: number): void;
}

export async function restoreBackup({ home, env, file, dryRun, onProgress }: RestoreRequest): Promise<Restored> {
  armFailpoint(env);
  const config = await loadConfig({ home, env });
  if (!config.roles.includes("coordinator")) {
    throw new ClusterError("state_conflict", `${home} only works and has no database; restore it on the coordinator's machine.`);
  }
  if (config.store.kind === "etcd" && !dryRun)
    throw new ClusterError(
      "state_conflict",
      "the tasks of this cluster are in etcd, and a file that is put here would lie beside them unused. " +
        "End all control nodes, then on this machine: openclaw-cluster config set store.kind sqlite, and restore again; promote the others anew.",
    );
  const folders = foldersOf(home);
  const source = find(file, backupFolder(config, folders));
  await makeFolders(folders);
  const claim = claimHome(home, folders.data);
  try {
    const { database } = folders;
    // A move to here that was decided has its place first: later it would take the backup's.
    if (config.store.kind === "sqlite") finishMove(database, silentLog);
    const { draft, report } = await prepareRestore({
      source,
      path: database,
      now: systemClock.wall(),
      ...(onProgress !== undefined && { onProgress }),
    });
    if (dryRun) {
      discard(draft);
      return { source, ...report };
    }
    const { setAside } = replaceDatabase(database, draft, silentLog);
    await restoreIdentity(folders, path.dirname(source));
    return { source, ...report, ...(setAside !== undefined && { setAside }) };
  } finally {
    claim.release();
  }
}

/** What there is to restore in this home, newest first. */
export async function backupsOf({ home, env }: Place): Promise<readonly BackupFile[]> {
  const config = await loadConfig({ home, env });
  return listBackups(backupFolder(config, foldersOf(home)));
}

/** A relative place is meant from the cluster's folder, wherever the daemon was started. */
export function backupFolder({ backup }: ClusterConfig, folders: Folders): string {
  return backup.folder === undefined ? folders.backups : path.resolve(folders.home, backup.folder);
}

function find(file: string, folder: string): string {
  const own = path.join(folder, file);
  if (path.basename(file) === file && existsSync(own)) return own;
  const given = path.resolve(file);
  if (!existsSync(given)) throw new ClusterError("usage", `There is no file ${given}, and no backup of that name in ${folder}.`);
  return given;
}
