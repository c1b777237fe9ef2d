/**
 * Makes a backup fit to go on from. A copy of it is made beside the present database and changed so that nothing of what
 * happened since can clash with what will happen (docs/decisions/0005-restore.md); putting it in place is sqlite-replace.ts.
 *
 * B1. The next epoch is above every one that a worker may have seen, and the next task key above every one given since.
 * B2. No attempt of the backup's past holds a lease, and no attempt's number is given again.
 * B3. Who may come in is as of the newest word on it: nodes, tokens and the audit log come from the present database where that is whole.
 * B4. What was given since is read from the present database. Where that is gone, damaged or another cluster's, the margins
 *     below stand for what it would have said.
 */
import { closeSync, existsSync, fsyncSync, openSync, readSync, rmSync, statSync, writeSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { fateOf, restored, type Fate, type Since } from "../core/restored.ts";
import { failpoint } from "../system/failpoint.ts";
import { MIGRATIONS, migrate, refuseNewer } from "./sqlite-migrations.ts";
import { configure, connect, faultIn, isOurs } from "./sqlite-open.ts";
import { openPresent, type Present } from "./sqlite-present.ts";
import { inTransaction } from "./sqlite-transaction.ts";
import { storeOver } from "./sqlite.ts";
import type { Store } from "./store.ts";

/** A start takes a second or more; a service that fails and is started again every 5 s needs two days for so many. */
export const EPOCHS_MARGIN = 2 ** 15;
/** Event ids are epoch · 2^32 and must stay exact; half of that range is left to the starts still to come. */
export const EPOCH_MAX = 2 ** 20;
/** A thousand tasks a second for eleven days. */
export const KEYS_MARGIN = 1e9;
/** A task that every node refuses is offered again at most once a minute and node. */
const ATTEMPTS_MARGIN = 10_000;
/** Copied at once, and told of as progress. */
const PIECE_BYTES = 4 * 1024 ** 2;

export interface RestoreReport {
  readonly cluster: string;
  /** Tasks in the backup, whatever became of them. */
  readonly tasks: number;
  /** Of those that were open in it. */
  readonly open: Readonly<Record<Fate, number>>;
  /** The next coordinator's term. */
  readonly epoch: number;
  /** The next task's key is one more. */
  readonly lastKey: number;
  /** Where what was given since is known from: the database that is replaced, or nowhere. */
  readonly known: "exactly" | "not";
}

export interface RestoreOptions {
  readonly source: string;
  /** The present database's; the copy is made beside it. */
  readonly path: string;
  readonly now: number;
  onProgress?(doneBytes: number, ofBytes: number): void;
}

/** Gives the copy's path: whole, synced, closed. Neither the source nor the present database is changed. */
export async function prepareRestore(options: RestoreOptions): Promise<{ draft: string; report: RestoreReport }> {
  const { source, path, now } = options;
  const draft = `${path}.restoring`;
  discard(draft);
  try {
    copyFile(source, draft, options);
    if (existsSync(`${source}-wal`)) copyFile(`${source}-wal`, `${draft}-wal`);
    failpoint("restore.copied");
    const database = openCopy(draft, source);
    const present = openPresent(path);
    try {
      const report = await adapt(database, present, now);
      return { draft, report };
    } finally {
      present?.close();
      // The last one to close copies the log into the file, syncs it, and removes the log.
      database.close();
      failpoint("restore.adapted");
    }
  } catch (error) {
    discard(draft);
    throw error;
  }
}

export function discard(draft: string): void {
  for (const tail of ["", "-wal", "-shm"]) rmSync(draft + tail, { force: true });
}

function copyFile(from: string, to: string, { onProgress }: Pick<RestoreOptions, "onProgress"> = {}): void {
  const opened: number[] = [];
  try {
    const source = openSync(from, "r");
    opened.push(source);
    const target = openSync(to, "wx", 0o600);
    opened.push(target);
    const { size } = statSync(from);
    const piece = Buffer.allocUnsafe(PIECE_BYTES);
    let done = 0;
    for (let read = readSync(source, piece); read > 0; read = readSync(source, piece)) {
      for (let written = 0; written < read;) written += writeSync(target, piece, written, read - written);
      onProgress?.((done += read), size);
    }
    fsyncSync(target);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ENOSPC")
      throw new ClusterError("storage_full", `The disk that holds ${to} has no room for a copy of ${from}.`, { cause });
    throw new ClusterError("usage", `${from} cannot be copied: ${(cause as Error).message}`, { cause });
  } finally {
    for (const file of opened) closeSync(file);
  }
}

/** Everything that would stop a start is found here, while the present database is still in its place. */
function openCopy(draft: string, source: string): DatabaseSync {
  try {
    return connect(draft, (database) => {
      if (!isOurs(database)) throw new ClusterError("store_unreadable", "it is empty, or another program's");
      const fault = faultIn(database);
      if (fault !== undefined) throw new ClusterError("store_unreadable", `its pages do not fit together (${fault.split("\n", 1)[0]})`);
      refuseNewer(database);
      configure(database, draft);
      migrate(database, MIGRATIONS);
    });
  } catch (cause) {
    const why = cause instanceof ClusterError ? cause.detail : String(cause);
    throw new ClusterError("store_unreadable", `${source} cannot be restored: ${why}`, { cause });
  }
}

async function adapt(database: DatabaseSync, present: Present | undefined, now: number): Promise<RestoreReport> {
  const store = storeOver(database, "");
  const { cluster, epoch } = await store.claim();
  const known = present?.cluster === cluster && present.isWhole ? present : undefined;
  // Damaged or not: what can still be read of the same cluster counts on top of the margins.
  const floor = present?.cluster === cluster ? present : undefined;
  const margin = known === undefined ? { epochs: EPOCHS_MARGIN, keys: KEYS_MARGIN } : { epochs: 0, keys: 0 };
  const lastKey = Math.max((await store.load()).lastKey, floor?.lastKey ?? 0) + margin.keys;
  const lastEpoch = Math.max(epoch, floor?.epoch ?? 0) + margin.epochs;
  if (lastEpoch > EPOCH_MAX)
    throw new ClusterError(
      "store_unreadable",
      `It would begin at term ${lastEpoch}; ${EPOCH_MAX} is the last one that a restore may give.`,
    );
  const open = await closePast(store, epoch, known, now);
  inTransaction(database, () => {
    passOver(database, known);
    if (known !== undefined) takeTrust(database, known);
    database.prepare("UPDATE meta SET epoch = ?, last_key = ?").run(lastEpoch, lastKey);
  });
  const { tasks } = database.prepare("SELECT count(*) AS tasks FROM tasks").get() as { tasks: number };
  return { cluster, tasks, open, epoch: lastEpoch + 1, lastKey, known: known === undefined ? "not" : "exactly" };
}

/** B2 for what is open. */
async function closePast(store: Store, epoch: number, known: Present | undefined, now: number): Promise<Record<Fate, number>> {
  const fates: Record<Fate, number> = { again: 0, asks: 0, fails: 0 };
  const { live } = await store.load();
  const settled = live.map((task) => restored(task, sinceOf(task.key, task.attempt, known), now));
  for (const { task } of settled) fates[fateOf(task)] += 1;
  const changed = settled.map(({ task }) => task).filter((task, at) => task !== live[at]);
  const attempts = settled.flatMap(({ task, ended }) => (ended === undefined ? [] : [{ task: task.key, attempt: ended }]));
  await store.commit({ epoch, changed, attempts });
  return fates;
}

function sinceOf(key: number, attempt: number, known: Present | undefined): Since {
  if (known === undefined) return { attempt: attempt + ATTEMPTS_MARGIN, untouched: false };
  const later = known.attemptOf(key);
  return { attempt: later ?? attempt + ATTEMPTS_MARGIN, untouched: later === attempt };
}

/** B2 for what a person may run again: a failed or cancelled task whose attempts went on since. */
function passOver(database: DatabaseSync, known: Present | undefined): void {
  const over = database.prepare("SELECT key, attempt FROM tasks WHERE state IN ('failed', 'cancelled')");
  // Without its placement: that is the earlier attempt's, and would be shown as the later one's.
  const raise = database.prepare("UPDATE tasks SET attempt = ?, placement = NULL WHERE key = ?");
  const rows = over.all() as { key: number; attempt: number }[];
  for (const { key, attempt } of rows) {
    const since = sinceOf(key, attempt, known);
    if (since.attempt > attempt) raise.run(since.attempt, key);
  }
}

/** B3. */
function takeTrust(database: DatabaseSync, known: Present): void {
  database.exec("DELETE FROM nodes; DELETE FROM tokens");
  const node = database.prepare("INSERT INTO nodes (id, node) VALUES (?, ?)");
  for (const row of known.rows("nodes")) node.run(row.id, row.json);
  const token = database.prepare("INSERT INTO tokens (id, token) VALUES (?, ?)");
  for (const row of known.rows("tokens")) token.run(row.id, row.json);
  // The same chain, and never shorter: what was noted since stays noted.
  const entry = database.prepare("INSERT OR IGNORE INTO audit (seq, at, actor, action, object, hash) VALUES (?, ?, ?, ?, ?, ?)");
  for (const { seq, at, actor, action, object, hash } of known.audit()) entry.run(seq, at, actor, action, object, hash);
}
