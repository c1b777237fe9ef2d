/**
 * The store in one SQLite file, on the caller's own thread (docs/decisions/0003-sqlite-in-line.md). Opening, writing,
 * reading and the layout have files of their own; this one is the door, and what holds for all of it.
 *
 * D1. After a failure of the medium every call is refused with the same StoreBroken: nothing is tried again.
 * D2. A transaction begins and ends within one turn of the event loop. Only a backup goes on beside others.
 */
import { statSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import type { AuditEntry } from "@openclaw-cluster/contract/audit";
import type { Attempt } from "@openclaw-cluster/contract/task";
import type { TaskRecord } from "../core/task.ts";
import { silentLog, type Log } from "../system/log.ts";
import { copyDatabase, type Copying } from "./sqlite-backup.ts";
import { sqliteView } from "./sqlite-copy.ts";
import { translate } from "./sqlite-errors.ts";
import { retireDatabase } from "./sqlite-moved.ts";
import { openDatabase, type Opening } from "./sqlite-open.ts";
import { Reads } from "./sqlite-reads.ts";
import { Writes } from "./sqlite-writes.ts";
import type { MoveNote, MoveSource, StoreView } from "./store-copy.ts";
import {
  StoreBroken,
  type Batch,
  type Claim,
  type ListFilter,
  type Loaded,
  type Page,
  type Pruned,
  type PruneOptions,
  type SubmitKey,
} from "./store.ts";

export async function openSqliteStore(options: Omit<Opening, "log"> & { readonly log?: Log }): Promise<MoveSource> {
  return storeOver(await openDatabase({ ...options, log: options.log ?? silentLog }), options.path);
}

/** For a database that is open already. */
export function storeOver(database: DatabaseSync, path: string): MoveSource {
  return new SqliteStore(database, path);
}

class SqliteStore implements MoveSource {
  readonly kind = "sqlite";
  private readonly database: DatabaseSync;
  private readonly path: string;
  private readonly reads: Reads;
  private readonly writes: Writes;
  private broken: StoreBroken | undefined;
  /** While a backup is under way: until its first step is done no write may begin, and until all of it the file stays open. */
  private copying: Copying | undefined;

  constructor(database: DatabaseSync, path: string) {
    this.database = database;
    this.path = path;
    this.reads = new Reads(database);
    this.writes = new Writes(database);
  }

  async claim(): Promise<Claim> {
    return this.change(() => this.writes.claim());
  }

  async load(): Promise<Loaded> {
    return this.guard(() => this.reads.load());
  }

  async commit(batch: Batch): Promise<void> {
    return this.change(() => this.writes.commit(batch));
  }

  async task(key: number): Promise<TaskRecord | undefined> {
    return this.guard(() => this.reads.task(key));
  }

  async list(filter: ListFilter, page: { before?: number; limit: number }): Promise<Page> {
    return this.guard(() => this.reads.list(filter, page));
  }

  async attempts(key: number): Promise<readonly Attempt[]> {
    return this.guard(() => this.reads.attempts(key));
  }

  async audit(page: { after: number; limit: number }): Promise<readonly AuditEntry[]> {
    return this.guard(() => this.reads.audit(page));
  }

  async submitKey(owner: string, key: string): Promise<SubmitKey | undefined> {
    return this.guard(() => this.reads.submitKey(owner, key));
  }

  async prune(options: PruneOptions): Promise<Pruned> {
    return this.change(() => this.writes.prune(options));
  }

  async backup(path: string): Promise<void> {
    if (this.broken !== undefined) throw this.broken;
    if (this.copying !== undefined) throw new ClusterError("state_conflict", "A backup is being taken already.");
    this.copying = copyDatabase(this.database, path);
    try {
      await this.copying.done;
    } finally {
      this.copying = undefined;
    }
  }

  async view(): Promise<StoreView> {
    return this.guard(() => sqliteView(this.database));
  }

  leave(): Promise<Claim> {
    return this.claim();
  }

  /** Whoever goes on claims it, and nobody else can. */
  async comeBack(): Promise<void> {}

  async retire(note: MoveNote): Promise<void> {
    return this.change(() => retireDatabase(this.database, note));
  }

  async bytes(): Promise<number> {
    const log = statSync(`${this.path}-wal`, { throwIfNoEntry: false });
    return statSync(this.path).size + (log?.size ?? 0);
  }

  async close(): Promise<void> {
    // Its failure is told to whoever asked for the backup.
    await this.copying?.done.catch(() => undefined);
    // A broken one stays as it is: closing would sync and copy the log once more, as if nothing had been (D1).
    if (this.broken === undefined && this.database.isOpen) this.guard(() => this.database.close());
  }

  private async change<T>(work: () => T): Promise<T> {
    // Not awaited for nothing: without a backup the change is made before this call returns, so none can begin in between.
    if (this.copying !== undefined) await this.copying.begun;
    return this.guard(work);
  }

  private guard<T>(work: () => T): T {
    if (this.broken !== undefined) throw this.broken;
    try {
      return work();
    } catch (error) {
      const told = translate(error);
      if (told instanceof StoreBroken) this.broken = told;
      throw told;
    }
  }
}
