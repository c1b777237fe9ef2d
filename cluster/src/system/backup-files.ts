/**
 * The folder of backups, and the names in it. A name is made here from the time, never taken from a caller, and what
 * does not look like one is not ours to list or to remove.
 */
import { readdir, rm, stat } from "node:fs/promises";
import path from "node:path";

export interface BackupFile {
  readonly name: string;
  readonly path: string;
  /** When it was begun, in ms since 1970. */
  readonly at: number;
  readonly bytes: number;
  /** Made by itself because a newer program was about to change the database's layout; nothing removes it. */
  readonly keepsLayout?: number;
}

const NAME = /^cluster-(\d{4}-\d{2}-\d{2})T(\d{2})-(\d{2})-(\d{2})-(\d{3})Z(?:-layout-(\d+))?\.db$/;
/** What a copy is called until it is whole. */
export const PARTIAL = ".partial";

export function backupName(at: number, layout?: number): string {
  return `cluster-${stamp(at)}${layout === undefined ? "" : `-layout-${layout}`}.db`;
}

/** A time that may stand in a file's name on every system, and sorts. */
export function stamp(at: number): string {
  return new Date(at).toISOString().replaceAll(/[:.]/g, "-");
}

/** Newest first; none where there is no folder yet. */
export async function listBackups(folder: string): Promise<BackupFile[]> {
  const files: BackupFile[] = [];
  for (const name of await namesIn(folder)) {
    const [, day, hour, minute, second, ms, layout] = NAME.exec(name) ?? [];
    if (day === undefined) continue;
    const at = Date.parse(`${day}T${hour}:${minute}:${second}.${ms}Z`);
    const { size } = await stat(path.join(folder, name));
    files.push({ name, path: path.join(folder, name), at, bytes: size, ...(layout !== undefined && { keepsLayout: Number(layout) }) });
  }
  return files.sort((a, b) => b.at - a.at);
}

/** What a process that was killed in the middle of a copy has left. */
export async function removePartial(folder: string): Promise<void> {
  for (const name of await namesIn(folder)) {
    if (name.endsWith(PARTIAL) && NAME.test(name.slice(0, -PARTIAL.length))) await rm(path.join(folder, name), { force: true });
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}
