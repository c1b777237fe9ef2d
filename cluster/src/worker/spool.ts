/**
 * What a worker must not forget when its process dies: how often it started, the newest epoch it has seen, results that
 * nobody has accepted yet, and the running attempts that can be taken up again. One SQLite file.
 *
 * Q1. A result kept here survives the process; it goes when the coordinator has given a verdict on it (W2).
 * Q2. The file belongs to one cluster. Another cluster's coordinator finds it empty: task numbers would clash.
 * Q3. A disk that fails costs durability, never the result: it stays in memory and the fault is logged.
 *
 * WAL with synchronous=NORMAL: a power cut may lose the last results, which is a lost node to the coordinator.
 */
import { existsSync, renameSync } from "node:fs";
import path from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { ClusterId } from "@openclaw-cluster/contract/ids";
import { Finished, Offer, type AttemptRef } from "@openclaw-cluster/contract/wire";
import type { Log } from "../system/log.ts";

/** A running attempt of an earlier life. */
export interface Resumable {
  readonly offer: Offer;
  readonly startedAt: number;
  readonly acted: boolean;
  /** How often it was taken up before. */
  readonly lives: number;
}

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS result (task TEXT, attempt INTEGER, finished TEXT NOT NULL, PRIMARY KEY (task, attempt)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS running (
    task TEXT, attempt INTEGER, offer TEXT NOT NULL, startedAt INTEGER NOT NULL, acted INTEGER NOT NULL DEFAULT 0,
    lives INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (task, attempt)
  ) WITHOUT ROWID;
`;
/** SQLite waits this long for a copy of the file that something else reads. */
const BUSY_MS = 1_000;
const SQLITE_CORRUPT = 11;
const SQLITE_NOTADB = 26;
const SQLITE_FULL = 13;
/** The log's index could not grow. */
const SQLITE_IOERR_SHMSIZE = 4_874;

export const spoolFile = (folder: string): string => path.join(folder, "spool.db");

/** Results and running attempts in it, for whoever asks beside the worker, or after it. */
export function owedIn(file: string): number {
  if (!existsSync(file)) return 0;
  const db = new DatabaseSync(file, { readOnly: true, timeout: BUSY_MS });
  try {
    return Number(db.prepare("SELECT (SELECT count(*) FROM result) + (SELECT count(*) FROM running) AS owed").get()?.["owed"]);
  } finally {
    db.close();
  }
}

export class Spool {
  /** Of this life; greater than that of any life before. */
  readonly boot: number;
  /** A write found no room on the disk. */
  onNoRoom: () => void = () => undefined;
  private seenEpoch: number;
  private readonly db: DatabaseSync;
  private readonly log: Log;
  private readonly statements: Record<"meta" | "keep" | "forget" | "began" | "acted" | "over" | "lived", StatementSync>;

  /** Over a database that is open already; the spool closes it. */
  constructor(db: DatabaseSync, cluster: ClusterId, wallMs: number, log: Log) {
    this.log = log;
    this.db = db;
    this.db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");
    this.db.exec(SCHEMA);
    this.statements = {
      meta: this.db.prepare("INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"),
      keep: this.db.prepare("INSERT OR REPLACE INTO result (task, attempt, finished) VALUES (?, ?, ?)"),
      forget: this.db.prepare("DELETE FROM result WHERE task = ? AND attempt = ?"),
      began: this.db.prepare("INSERT OR IGNORE INTO running (task, attempt, offer, startedAt) VALUES (?, ?, ?, ?)"),
      acted: this.db.prepare("UPDATE running SET acted = 1 WHERE task = ? AND attempt = ?"),
      over: this.db.prepare("DELETE FROM running WHERE task = ? AND attempt = ?"),
      lived: this.db.prepare("UPDATE running SET lives = lives + 1"),
    };
    if (this.meta("cluster") !== cluster) this.db.exec("DELETE FROM result; DELETE FROM running; DELETE FROM meta WHERE name = 'epoch'");
    // Never below the seconds since 1970, so that the count does not fall when the file is lost.
    this.boot = Math.max(Math.floor(wallMs / 1_000), Number(this.meta("boot") ?? 0) + 1, 1);
    this.seenEpoch = Number(this.meta("epoch") ?? 0);
    this.statements.meta.run("cluster", cluster);
    this.statements.meta.run("boot", this.boot);
    this.db.exec("PRAGMA synchronous = NORMAL");
  }

  /** A file that is no database any more is set aside: a worker without its memory is better than none. */
  static open(file: string, cluster: ClusterId, wallMs: number, log: Log): Spool {
    try {
      return new Spool(new DatabaseSync(file, { timeout: BUSY_MS }), cluster, wallMs, log);
    } catch (error) {
      const { errcode } = error as { errcode?: number };
      if (errcode !== SQLITE_CORRUPT && errcode !== SQLITE_NOTADB)
        throw new ClusterError("storage_full", `The worker's spool ${file} cannot be opened.`, { cause: error });
      log.error({ err: error, file }, "the worker's spool is damaged; it is set aside and results in it are lost");
      renameSync(file, `${file}.damaged-${wallMs}`);
      return new Spool(new DatabaseSync(file, { timeout: BUSY_MS }), cluster, wallMs, log);
    }
  }

  /** False for an epoch older than the newest one seen: its coordinator was replaced. */
  admits(epoch: number): boolean {
    if (epoch > this.seenEpoch) {
      this.seenEpoch = epoch;
      this.try(() => this.statements.meta.run("epoch", epoch));
    }
    return epoch === this.seenEpoch;
  }

  /** The newest one seen; 0: none. */
  get epoch(): number {
    return this.seenEpoch;
  }

  results(): Finished[] {
    return this.rows("SELECT finished AS json FROM result ORDER BY task, attempt").flatMap((json) => this.parsed(Finished.safeParse(json)));
  }

  resumable(): Resumable[] {
    const rows = this.db.prepare("SELECT offer, startedAt, acted, lives FROM running").all() as {
      offer: string;
      startedAt: number;
      acted: number;
      lives: number;
    }[];
    this.try(() => this.statements.lived.run());
    return rows.flatMap(({ offer, startedAt, acted, lives }) =>
      this.parsed(Offer.safeParse(JSON.parse(offer))).map((one) => ({ offer: one, startedAt, acted: acted === 1, lives: lives + 1 })),
    );
  }

  keep(finished: Finished): void {
    this.try(() => {
      this.statements.keep.run(finished.task, finished.attempt, JSON.stringify(finished));
      this.statements.over.run(finished.task, finished.attempt);
    });
  }

  forget(refs: readonly AttemptRef[]): void {
    this.try(() => {
      this.db.exec("BEGIN");
      for (const ref of refs) this.statements.forget.run(ref.task, ref.attempt);
      this.db.exec("COMMIT");
    });
  }

  began(offer: Offer, startedAt: number): void {
    this.try(() => this.statements.began.run(offer.task, offer.attempt, JSON.stringify(offer), startedAt));
  }

  acted(ref: AttemptRef): void {
    this.try(() => this.statements.acted.run(ref.task, ref.attempt));
  }

  close(): void {
    this.db.close();
  }

  private meta(name: string): unknown {
    return this.db.prepare("SELECT value FROM meta WHERE name = ?").get(name)?.["value"];
  }

  private rows(sql: string): unknown[] {
    return this.db
      .prepare(sql)
      .all()
      .map((row) => JSON.parse(String(row["json"])) as unknown);
  }

  /** A row that an older version wrote in another shape is dropped: its attempt counts as lost. */
  private parsed<T>(parsed: { success: true; data: T } | { success: false; error: Error }): T[] {
    if (parsed.success) return [parsed.data];
    this.log.warn({ problem: parsed.error.message }, "a row of the spool cannot be read and is dropped");
    return [];
  }

  /** Q3 */
  private try(write: () => void): void {
    // Whatever comes after the end of this life belongs to the next one.
    if (!this.db.isOpen) return;
    try {
      write();
    } catch (error) {
      if (this.db.isTransaction) this.db.exec("ROLLBACK");
      this.log.error({ err: error }, "the worker's spool cannot be written; results survive only while the worker runs");
      const { errcode } = error as { errcode?: number };
      if (errcode === SQLITE_FULL || errcode === SQLITE_IOERR_SHMSIZE) this.onNoRoom();
    }
  }
}
