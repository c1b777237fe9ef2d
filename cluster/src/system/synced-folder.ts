/** A file that was made, renamed or linked has its name for good when its folder is synced, and not before. */
import { closeSync, fsyncSync, openSync, statSync } from "node:fs";
import { open } from "node:fs/promises";

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

/** A file or a folder, while the event loop goes on. */
export async function syncLater(path: string): Promise<void> {
  if (process.platform === "win32" && statSync(path).isDirectory()) return;
  const handle = await open(path, process.platform === "win32" ? "r+" : "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
