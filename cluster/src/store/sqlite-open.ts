/**
 * Opens the one connection to the database's file, checked and claimed.
 *
 * O1. One process per file. The claim is SQLite's own exclusive lock, which the system drops with the process; so
 *     nothing in this process may open and close the file by other means (on POSIX that would drop the lock as well).
 * O2. A resolved commit survives power loss: WAL, full sync, also through the drive's cache on macOS. Read back, not hoped.
 * O3. Under its own name the file is whole or absent: it is made under another name and renamed. So an empty or
 *     half-made file is damage, and is refused instead of taken for a first start.
 */
import { closeSync, existsSync, mkdirSync, openSync, renameSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { backupName } from "../system/backup-files.ts";
import { failpoint } from "../system/failpoint.ts";
import type { Log } from "../system/log.ts";
import { syncFolder } from "../system/synced-folder.ts";
import { copyDatabase } from "./sqlite-backup.ts";
import { damaged, translateAtOpen } from "./sqlite-errors.ts";
import { isBehind, layoutOf, migrate, MIGRATIONS, refuseNewer } from "./sqlite-migrations.ts";
import { movedAway, moveNoteIn } from "./sqlite-moved.ts";
import { finishMove, finishRestore } from "./sqlite-replace.ts";

/** "ocx1": tells our files from any other program's. */
const APPLICATION_ID = 0x6f637831;

/** A daemon that is just going down needs a moment to let go; more would hold the event loop, which sleeps meanwhile. */
const CLAIM_WAIT_MS = 250;

/** Checking takes a second per GiB; a start must not grow with history beyond that. */
const CHECKED_BYTES_MAX = 1024 ** 3;

/** Name, what is set, what must be read back. */
const PRAGMAS: readonly (readonly [name: string, value: string, readBack: string | number])[] = [
  ["locking_mode", "EXCLUSIVE", "exclusive"],
  ["journal_mode", "WAL", "wal"],
  ["synchronous", "FULL", 2],
  ["fullfsync", "ON", 1],
  ["checkpoint_fullfsync", "ON", 1],
  ["foreign_keys", "ON", 1],
  ["trusted_schema", "OFF", 0],
  // Pages. 1,000 writes 30–70 % more (pages change many times before they are copied); nobody else reads the file, so the
  // log is always copied whole and stays at about 32 MiB.
  ["wal_autocheckpoint", "8000", 8_000],
  // What one huge batch leaves behind is given back at the next checkpoint.
  ["journal_size_limit", "67108864", 67_108_864],
  // KiB. The hot pages are the newest ones; more memory measured no faster.
  ["cache_size", "-16384", -16_384],
];

export interface Opening {
  readonly path: string;
  readonly log: Log;
  /** Folder for the copy that is made before the layout changes; without it none is made. */
  readonly backups?: string;
  /** Others than the program's own, for tests. */
  readonly migrations?: readonly string[];
  /** Nothing waits for the disk: for a file that is nothing yet until its writer has synced all of it. */
  readonly isDraft?: true;
}

export async function openDatabase({ path, log, backups, migrations = MIGRATIONS, isDraft }: Opening): Promise<DatabaseSync> {
  assertSafeVersion(process.versions["sqlite"]);
  const started = performance.now();
  finishRestore(path, log);
  finishMove(path, log);
  const prepare = isDraft === true ? configureDraft : configure;
  if (!existsSync(path)) make(path, log, migrations, prepare);
  const database = connect(path, (opened) => {
    check(opened, path, log);
    refuseNewer(opened, migrations);
    prepare(opened, path);
  });
  try {
    if (backups !== undefined && isBehind(database, migrations)) await keepLayout(database, backups, log);
    const applied = translated(path, () => migrate(database, migrations));
    if (applied > 0) log.info({ path, applied }, "database brought to the present layout");
  } catch (error) {
    database.close();
    throw error;
  }
  log.info({ path, ms: Math.round(performance.now() - started) }, "database opened");
  return database;
}

/** A migration that turns out to be wrong must not be the end of what it was done to. */
async function keepLayout(database: DatabaseSync, folder: string, log: Log): Promise<void> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const layout = layoutOf(database);
  const copy = join(folder, backupName(Date.now(), layout));
  await copyDatabase(database, copy).done;
  log.info({ copy, layout }, "database copied before its layout changes; the copy is kept");
  failpoint("migration.copied");
}

function make(path: string, log: Log, migrations: readonly string[], prepare: typeof configure): void {
  if (existsSync(`${path}-wal`)) throw damaged(path, `it is gone, but its log ${path}-wal is there`);
  const draft = `${path}.new`;
  translated(path, () => {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    closeSync(openSync(draft, "a", 0o600));
  });
  connect(draft, (database) => {
    prepare(database, draft);
    database.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
    migrate(database, migrations);
  }).close();
  failpoint("start.drafted");
  // Another process may have been as quick; then its file stands, and opening that one tells that it is taken.
  if (existsSync(path)) return;
  translated(path, () => {
    renameSync(draft, path);
    if (prepare === configure) syncFolder(dirname(path));
  });
  log.info({ path }, "database made");
}

/** The claim comes before anything else: then WAL needs no shared memory, and the lock is taken with the first read. */
export function connect(path: string, prepare: (database: DatabaseSync) => void): DatabaseSync {
  return translated(path, () => {
    const database = new DatabaseSync(path, { timeout: CLAIM_WAIT_MS, defensive: true });
    try {
      database.exec("PRAGMA locking_mode = EXCLUSIVE");
      prepare(database);
      return database;
    } catch (error) {
      database.close();
      throw error;
    }
  });
}

/** Changes nothing: a file that is refused is left as it is. */
function check(database: DatabaseSync, path: string, log: Log): void {
  const { size } = statSync(path);
  const moved = moveNoteIn(database);
  if (moved !== undefined) throw movedAway(path, moved);
  if (!isOurs(database)) throw damaged(path, "it is empty, or another program's");
  if (size > CHECKED_BYTES_MAX) return log.warn({ path, size }, "database not checked: it is too large for a quick start");
  const found = faultIn(database);
  if (found !== undefined) throw damaged(path, "its pages do not fit together", new Error(found));
}

export function isOurs(database: DatabaseSync): boolean {
  return pragma(database, "application_id") === APPLICATION_ID;
}

/** Reads every page. */
export function faultIn(database: DatabaseSync): string | undefined {
  const found = String(pragma(database, "quick_check"));
  return found === "ok" ? undefined : found;
}

export function configure(database: DatabaseSync, path: string): void {
  for (const [name, value] of PRAGMAS) database.exec(`PRAGMA ${name} = ${value}`);
  for (const [name, , expected] of PRAGMAS) {
    const read = pragma(database, name);
    if (read !== expected)
      throw new ClusterError("internal", `SQLite did not take ${name} = ${expected} for ${path}: it says ${String(read)}.`);
  }
}

/** Before as well: to take up the log is a write. */
function configureDraft(database: DatabaseSync, path: string): void {
  database.exec("PRAGMA synchronous = OFF");
  configure(database, path);
  database.exec("PRAGMA synchronous = OFF");
}

function pragma(database: DatabaseSync, name: string): unknown {
  return Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0];
}

/** Older builds can corrupt a database when the log restarts; fixed in these, and in everything after 3.51.3. */
const FIXED_PATCH: ReadonlyMap<number, number> = new Map([
  [44, 6],
  [50, 7],
  [51, 3],
]);

export function assertSafeVersion(version: string | undefined): void {
  const [major = 0, minor = 0, patch = 0] = (version ?? "").split(".").map(Number);
  const fixed = FIXED_PATCH.get(minor);
  if (major === 3 && (minor > 51 || (fixed !== undefined && patch >= fixed))) return;
  throw new ClusterError("config_invalid", `This Node brings SQLite ${version}, which can damage a database; use Node 24.16 or later.`);
}

function translated<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw translateAtOpen(error, path);
  }
}
