/**
 * A SQLite database as the source and as the target of a copy of a whole store.
 *
 * Q1. Whoever copies leads meanwhile, by a lease that is renewed by the same event loop: nothing here waits for the disk on it. A
 *     copy of 7 MB whose every step was synced there stood still for seconds on a busy disk, and cost the lead.
 */
import { existsSync, rmSync } from "node:fs";
import { rename } from "node:fs/promises";
import { dirname } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import type { ClusterId } from "@openclaw-cluster/contract/ids";
import type { AuditEntry } from "@openclaw-cluster/contract/audit";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { PARTIAL } from "../system/backup-files.ts";
import { silentLog } from "../system/log.ts";
import { syncLater } from "../system/synced-folder.ts";
import { translateInBackup } from "./sqlite-errors.ts";
import { openDatabase } from "./sqlite-open.ts";
import { TASK_COLUMNS, TASK_JOINS, toRecord, type TaskRow, type Value } from "./sqlite-rows.ts";
import { lastKeyOf, Writes } from "./sqlite-writes.ts";
import { copyInto, type CopySource, type CopyTarget, type StoreView } from "./store-copy.ts";
import type { Rows, SubmitKey } from "./store.ts";

/** With specs and outcomes: 64 MiB at the worst. */
const TASKS_PER_PIECE = 128;
const ROWS_PER_PIECE = 1_000;

/** Nothing stands at `path` before the copy is whole and synced; what stands there already is never overwritten. */
export async function writeSqliteCopy(path: string, source: CopySource): Promise<void> {
  if (existsSync(path)) throw new ClusterError("bad_request", `There is a file at ${path} already; name a new one for the backup.`);
  const partial = path + PARTIAL;
  let database: DatabaseSync | undefined;
  const discard = (): void => {
    if (database?.isOpen === true) database.close();
    for (const tail of ["", ".new", "-wal", "-shm", ".new-wal", ".new-shm"]) rmSync(partial + tail, { force: true });
  };
  try {
    database = await ofTheFile(path, async () => {
      discard();
      return openDatabase({ path: partial, log: silentLog, isDraft: true });
    });
    await copyInto(sqliteTarget(database, path), source);
    const whole = database;
    await ofTheFile(path, async () => {
      // The last one to close copies the log into the file, and removes the log; a draft's is not synced by that.
      whole.close();
      await syncLater(partial);
      await rename(partial, path);
      await syncLater(dirname(path));
    });
  } catch (error) {
    if (existsSync(partial) || existsSync(`${partial}.new`)) discard();
    throw error;
  }
}

/** `path`: what it is told as, where its file or disk fails. */
export function sqliteTarget(database: DatabaseSync, path: string, what?: "copy"): CopyTarget {
  const writes = new Writes(database);
  const { epoch } = writes.claim();
  return {
    write: (rows) => ofTheFile(path, async () => writes.commit({ epoch, ...rows }), what),
    finish: (identity) =>
      ofTheFile(
        path,
        async () => {
          const { cluster, epoch: its, lastKey } = identity;
          database.prepare("UPDATE meta SET cluster = ?, epoch = ?, last_key = ?").run(cluster, its, lastKey);
        },
        what,
      ),
  };
}

/** What fails here is the copy's file, not the store that is copied. */
export async function ofTheFile<T>(path: string, work: () => Promise<T>, what?: "copy"): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw translateInBackup(error, path, what);
  }
}

/** Where a view ends: what is behind it was made since. */
interface Bounds {
  readonly task: number;
  readonly submit: number;
  readonly audit: number;
  readonly tasks: number;
}

/** Of a database that nobody changes meanwhile: a backup, or one whose owner has stopped. */
export function sqliteSource(database: DatabaseSync): CopySource {
  return sqliteView(database);
}

/**
 * Of a database at work: page after page is read from the one connection there is, and none holds up a commit for longer than it
 * takes to read.
 */
export function sqliteView(database: DatabaseSync): StoreView {
  const bounds = boundsOf(database);
  return {
    tasks: bounds.tasks,
    release: () => undefined,
    async identity() {
      const { cluster, epoch } = database.prepare("SELECT cluster, epoch FROM meta").get() as { cluster: ClusterId; epoch: number };
      return { cluster, epoch, lastKey: lastKeyOf(database) };
    },
    pieces: () => piecesOf(database, bounds),
  };
}

function boundsOf(database: DatabaseSync): Bounds {
  const most = (what: string, table: string): number =>
    (database.prepare(`SELECT ifnull(max(${what}), 0) AS most FROM ${table}`).get() as { most: number }).most;
  const { tasks } = database.prepare("SELECT count(*) AS tasks FROM tasks").get() as { tasks: number };
  return { task: most("key", "tasks"), submit: most("rowid", "submit_keys"), audit: most("seq", "audit"), tasks };
}

async function* piecesOf(database: DatabaseSync, bounds: Bounds): AsyncGenerator<Rows> {
  const tasks = `SELECT ${TASK_COLUMNS} FROM tasks t NOT INDEXED ${TASK_JOINS} WHERE t.key > ? AND t.key <= ${bounds.task} ORDER BY t.key LIMIT ${TASKS_PER_PIECE}`;
  for (const page of rowPages<TaskRow>(database, tasks, ["key"])) yield { created: page.map(toRecord) };
  const attempts = `SELECT key, n, attempt FROM attempts WHERE (key, n) > (?, ?) AND key <= ${bounds.task} ORDER BY key, n LIMIT ${ROWS_PER_PIECE}`;
  for (const page of rowPages<{ key: number; attempt: string }>(database, attempts, ["key", "n"]))
    yield { attempts: page.map(({ key, attempt }) => ({ task: key, attempt: JSON.parse(attempt) })) };
  const submits = `SELECT rowid AS id, owner, key, body_hash, runs, at FROM submit_keys WHERE rowid > ? AND rowid <= ${bounds.submit} ORDER BY rowid LIMIT ${ROWS_PER_PIECE}`;
  for (const page of rowPages<SubmitRow>(database, submits, ["id"])) yield { keys: page.map(toSubmitKey) };
  yield { nodes: jsonIn(database, "node", "nodes") };
  yield { tokens: jsonIn(database, "token", "tokens") };
  const audit = `SELECT seq, at, actor, action, object, hash FROM audit WHERE seq > ? AND seq <= ${bounds.audit} ORDER BY seq LIMIT ${ROWS_PER_PIECE}`;
  for (const page of rowPages<AuditEntry>(database, audit, ["seq"])) yield { audit: page.map((row) => ({ ...row })) };
}

function jsonIn<T>(database: DatabaseSync, column: string, table: string): T[] {
  const rows = database.prepare(`SELECT ${column} AS json FROM ${table}`).all() as { json: string }[];
  return rows.map(({ json }) => JSON.parse(json) as T);
}

interface SubmitRow {
  readonly owner: string;
  readonly key: string;
  readonly body_hash: string;
  readonly runs: string;
  readonly at: number;
}

function toSubmitKey({ owner, key, body_hash, runs, at }: SubmitRow): SubmitKey {
  return { owner, key, bodyHash: body_hash, runs: JSON.parse(runs), at };
}

/** Page after page, each from behind the last row of the one before. */
function* rowPages<Row extends object>(database: DatabaseSync, sql: string, cursor: readonly string[]): Generator<Row[]> {
  const statement = database.prepare(sql);
  let from: Value[] = cursor.map(() => 0);
  for (;;) {
    const page = statement.all(...from) as unknown as Row[];
    const last = page.at(-1) as Record<string, Value> | undefined;
    if (last === undefined) return;
    yield page;
    from = cursor.map((name) => last[name] as Value);
  }
}
