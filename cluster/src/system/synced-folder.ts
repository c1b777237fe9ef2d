/** A file that was made, renamed or linked has its name for good when its folder is synced, and not before. */
import { closeSync, fsyncSync, openSync } from "node:fs";

/** Windows has no such call, and needs none. */
export function syncFolder(folder: string): void {
  if (process.platform === "win32") return;
  const handle = openSync(folder, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
