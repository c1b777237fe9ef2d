/**
 * The database that a backup is to replace, read for what it knows and not changed by a byte: it may be the only trace
 * of what happened since, and it may be damaged.
 */
import { existsSync, rmSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import type { AuditEntry } from "@openclaw-cluster/contract/audit";
import { moveNoteIn } from "./sqlite-moved.ts";
import { faultIn, isOurs } from "./sqlite-open.ts";
import { lastKeyOf } from "./sqlite-writes.ts";

export interface Present {
  readonly cluster: string;
  readonly epoch: number;
  readonly lastKey: number;
  /** Every page was read, and nothing came after it elsewhere. */
  readonly isWhole: boolean;
  /** The task's newest attempt; undefined where there is no such task any more. */
  attemptOf(key: number): number | undefined;
  rows(table: "nodes" | "tokens"): readonly { id: string; json: string }[];
  /** Oldest first; none where its layout is from before the audit log. */
  audit(): readonly AuditEntry[];
  close(): void;
}

/** undefined: there is none, or nothing can be read of it. */
export function openPresent(path: string): Present | undefined {
  if (!existsSync(path)) return undefined;
  let database: DatabaseSync | undefined;
  const close = (): void => {
    database?.close();
    // A reader that does not own the file needs it; the daemon never does.
    rmSync(`${path}-shm`, { force: true });
  };
  try {
    database = new DatabaseSync(path, { readOnly: true });
    return read(database, close);
  } catch {
    // Whatever is wrong with it, it tells nothing, and the caller goes by the margins.
    close();
    return undefined;
  }
}

function read(database: DatabaseSync, close: () => void): Present | undefined {
  const meta = database.prepare("SELECT cluster, epoch FROM meta").get() as { cluster: string; epoch: number } | undefined;
  const isMoved = moveNoteIn(database) !== undefined;
  if (!(isOurs(database) || isMoved) || meta === undefined) {
    close();
    return undefined;
  }
  const attempt = database.prepare("SELECT attempt FROM tasks WHERE key = ?");
  return {
    ...meta,
    lastKey: lastKeyOf(database),
    // One that was moved elsewhere does not know what came since.
    isWhole: !isMoved && isSound(database),
    attemptOf: (key) => attempt.get(key)?.["attempt"] as number | undefined,
    rows: (table) => {
      const column = table === "nodes" ? "node" : "token";
      return database.prepare(`SELECT id, ${column} AS json FROM ${table}`).all() as { id: string; json: string }[];
    },
    audit: () =>
      hasAudit(database)
        ? database
            .prepare("SELECT * FROM audit ORDER BY seq")
            .all()
            .map((row) => ({ ...row }) as unknown as AuditEntry)
        : [],
    close,
  };
}

function hasAudit(database: DatabaseSync): boolean {
  return database.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'audit'").get() !== undefined;
}

/** The check itself throws where a page that it needs cannot be read. */
function isSound(database: DatabaseSync): boolean {
  try {
    return faultIn(database) === undefined;
  } catch {
    return false;
  }
}
