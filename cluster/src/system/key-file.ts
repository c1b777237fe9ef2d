/**
 * A file that holds a key of this machine's own: made by whoever needs it first, and the same for everybody from then on.
 *
 * K1. It appears whole or not at all, readable by its owner only. One that others may read is refused.
 * K2. Of several processes that make it at once one is first, and all have its key.
 * K3. When a key is told, it is on the disk under its name: others remember it, and would refuse another one after a power cut.
 * K4. Nothing of what is in it gets into an error.
 */
import { randomUUID } from "node:crypto";
import { existsSync, linkSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { ClusterError } from "@openclaw-cluster/contract/errors";
import { isOpenToOthers } from "./private-mode.ts";
import { syncFolder } from "./synced-folder.ts";

/** What is in it; undefined: there is no such file. `what` it is, for people: `key file`. In one go, because a handshake may wait for it. */
export function readKeyFile(file: string, what: string): string | undefined {
  let text: string;
  let mode: number;
  try {
    text = readFileSync(file, "utf8").trim();
    ({ mode } = statSync(file));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new ClusterError("config_invalid", `the ${what} ${file} cannot be read`, { cause: error });
  }
  if (isOpenToOthers(mode)) throw new ClusterError("config_invalid", `the ${what} ${file} is open to other users; run: chmod 600 ${file}`);
  return text;
}

/** What `read` finds in the file. Where it finds none, `make` gives the content of a new one. */
export function loadKeyFile<Key>(file: string, read: (file: string) => Key | undefined, make: () => string | Uint8Array): Key {
  let key = read(file);
  if (key === undefined) {
    makeFile(file, make);
    key = read(file);
  }
  if (key === undefined) throw new ClusterError("config_invalid", `the file ${file} was taken away as soon as it was made`);
  // Whoever made it may not have come so far (K3).
  syncFolder(dirname(file));
  return key;
}

function makeFile(file: string, make: () => string | Uint8Array): void {
  const draft = `${file}.${randomUUID()}`;
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    writeFileSync(draft, make(), { mode: 0o600, flag: "wx", flush: true });
    linkUnlessThere(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOSPC")
      throw new ClusterError("storage_full", `The disk that holds ${file} is full.`, { cause: error });
    throw new ClusterError("config_invalid", `the file ${file} cannot be written`, { cause: error });
  } finally {
    // Asked first: to remove what cannot be there would throw, and hide why.
    if (existsSync(draft)) rmSync(draft);
  }
}

/** Unlike a rename, a link does not replace the file of somebody who was faster (K2). */
function linkUnlessThere(draft: string, file: string): void {
  try {
    linkSync(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}
