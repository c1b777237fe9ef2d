/**
 * What makes a coordinator the one that its nodes have joined, besides the database: its key, and its authority, which names that
 * key. A backup is restored on another machine only if they come along, so copies lie beside the backups, as private as they are.
 */
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { readTextFile, writePrivateFile, type Folders } from "../system/folders.ts";

export const IDENTITY_COPIES = "identity";

function filesOf({ coordinatorSeed, authorityKey, authority }: Folders): readonly string[] {
  return [coordinatorSeed, authorityKey, authority];
}

/** Copies what is not there yet, or is another's. */
export async function copyIdentity(folders: Folders, backups: string): Promise<void> {
  await carry(filesOf(folders), path.join(backups, IDENTITY_COPIES), { replace: true });
}

/** To a home that has none: one that has keeps its own, which its nodes know. */
export async function restoreIdentity(folders: Folders, backups: string): Promise<void> {
  // The authority of another key would be of no use to it.
  if ((await readTextFile(folders.coordinatorSeed)) !== undefined) return;
  for (const file of filesOf(folders))
    await carry([path.join(backups, IDENTITY_COPIES, path.basename(file))], path.dirname(file), { replace: false });
}

async function carry(files: readonly string[], folder: string, { replace }: { replace: boolean }): Promise<void> {
  for (const file of files) {
    const copy = path.join(folder, path.basename(file));
    const [text, there] = [await readTextFile(file), await readTextFile(copy)];
    if (text === undefined || text === there || (there !== undefined && !replace)) continue;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await writePrivateFile(copy, text);
  }
}
