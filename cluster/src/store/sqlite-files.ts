/** The database's files on disk, beside what SQLite itself does with them. */
import { closeSync, fsyncSync, openSync } from "node:fs";
import { dirname } from "node:path";

/** A new name is durable only when its folder is. Windows has no such call, and needs none. */
export function syncFolder(path: string): void {
  if (process.platform === "win32") return;
  const folder = openSync(dirname(path), "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
