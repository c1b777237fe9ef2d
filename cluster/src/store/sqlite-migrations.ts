/**
 * Brings a database file to the layout that this program knows. Migrations are numbered from 1 and never edited once
 * released; the number reached stands in the file's own header.
 *
 * N1. Each migration and its number are one transaction: killed half-way, it has not happened.
 * N2. A file from a newer program is refused, never guessed at.
 */
import type { DatabaseSync } from "node:sqlite";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { sql as first } from "./migrations/0001-first.ts";
import { sql as deadLetters } from "./migrations/0002-dead-letters.ts";
import { inTransaction } from "./sqlite-transaction.ts";

const MIGRATIONS: readonly string[] = [first, deadLetters];

/** Returns how many were applied. */
export function migrate(database: DatabaseSync, migrations = MIGRATIONS): number {
  const version = versionOf(database);
  if (version > migrations.length) {
    throw new ClusterError(
      "store_unreadable",
      `The database has layout ${version}, this program knows up to ${migrations.length}: it was written by a newer version. Start that version, or restore a backup.`,
    );
  }
  for (const [index, sql] of migrations.entries()) {
    if (index < version) continue;
    inTransaction(database, () => database.exec(`${sql}; PRAGMA user_version = ${index + 1}`));
  }
  return migrations.length - version;
}

function versionOf(database: DatabaseSync): number {
  return (database.prepare("PRAGMA user_version").get() as { user_version: number }).user_version;
}
