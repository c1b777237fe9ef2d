/** All or nothing, on one connection. */
import type { DatabaseSync } from "node:sqlite";

export function inTransaction<T>(database: DatabaseSync, change: () => T): T {
  database.exec("BEGIN IMMEDIATE");
  try {
    const result = change();
    database.exec("COMMIT");
    return result;
  } catch (error) {
    // SQLite has rolled back by itself after some errors (a full disk, for one), not after others.
    if (database.isTransaction) database.exec("ROLLBACK");
    throw error;
  }
}
