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
import { sql as audit } from "./migrations/0003-audit.ts";
import { sql as ownerName } from "./migrations/0004-owner-name.ts";
import { sql as owners } from "./migrations/0005-owners.ts";
import { failpoint } from "../system/failpoint.ts";
import { inTransaction } from "./sqlite-transaction.ts";

export const MIGRATIONS: readonly string[] = [first, deadLetters, audit, ownerName, owners];

/** Returns how many were applied. */
export function migrate(database: DatabaseSync, migrations = MIGRATIONS): number {
  refuseNewer(database, migrations);
  const layout = layoutOf(database);
  for (const [index, sql] of migrations.entries()) {
    if (index < layout) continue;
    inTransaction(database, () => {
      database.exec(`${sql}; PRAGMA user_version = ${index + 1}`);
      failpoint("migration.changed");
    });
    failpoint("migration.committed");
  }
  return migrations.length - layout;
}

/** N2. */
export function refuseNewer(database: DatabaseSync, migrations = MIGRATIONS): void {
  const layout = layoutOf(database);
  if (layout <= migrations.length) return;
  throw new ClusterError(
    "store_unreadable",
    `The database has layout ${layout}, this program knows up to ${migrations.length}: it was written by a newer version. Start that version, or restore a backup.`,
  );
}

/** It has a layout, and not the newest. */
export function isBehind(database: DatabaseSync, migrations = MIGRATIONS): boolean {
  const layout = layoutOf(database);
  return layout > 0 && layout < migrations.length;
}

export function layoutOf(database: DatabaseSync): number {
  return (database.prepare("PRAGMA user_version").get() as { user_version: number }).user_version;
}
