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
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { failpoint } from "../system/failpoint.ts";
import type { Log } from "../system/log.ts";
import { damaged, translateAtOpen } from "./sqlite-errors.ts";
import { syncFolder } from "./sqlite-files.ts";
import { migrate } from "./sqlite-migrations.ts";

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

export function openDatabase(path: string, log: Log): DatabaseSync {
  assertSafeVersion(process.versions["sqlite"]);
  const started = performance.now();
  if (!existsSync(path)) make(path, log);
  const database = connect(path, (opened) => {
    check(opened, path, log);
    configure(opened, path);
    const applied = migrate(opened);
    if (applied > 0) log.info({ path, applied }, "database brought to the present layout");
  });
  log.info({ path, ms: Math.round(performance.now() - started) }, "database opened");
  return database;
}

function make(path: string, log: Log): void {
  if (existsSync(`${path}-wal`)) throw damaged(path, `it is gone, but its log ${path}-wal is there`);
  const draft = `${path}.new`;
  translated(path, () => {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    closeSync(openSync(draft, "a", 0o600));
  });
  connect(draft, (database) => {
    configure(database, draft);
    database.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
    migrate(database);
  }).close();
  failpoint("start.drafted");
  // Another process may have been as quick; then its file stands, and opening that one tells that it is taken.
  if (existsSync(path)) return;
  translated(path, () => {
    renameSync(draft, path);
    syncFolder(path);
  });
  log.info({ path }, "database made");
}

/** The claim comes before anything else: then WAL needs no shared memory, and the lock is taken with the first read. */
function connect(path: string, prepare: (database: DatabaseSync) => void): DatabaseSync {
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
  if (pragma(database, "application_id") !== APPLICATION_ID) throw damaged(path, "it is empty, or another program's");
  if (size > CHECKED_BYTES_MAX) return log.warn({ path, size }, "database not checked: it is too large for a quick start");
  const found = pragma(database, "quick_check");
  if (found !== "ok") throw damaged(path, "its pages do not fit together", new Error(String(found)));
}

function configure(database: DatabaseSync, path: string): void {
  for (const [name, value] of PRAGMAS) database.exec(`PRAGMA ${name} = ${value}`);
  for (const [name, , expected] of PRAGMAS) {
    const read = pragma(database, name);
    if (read !== expected)
      throw new ClusterError("internal", `SQLite did not take ${name} = ${expected} for ${path}: it says ${String(read)}.`);
  }
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
