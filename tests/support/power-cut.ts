/**
 * Does to the files of a process that was killed what a power cut could have done: what nothing had synced is kept, lost
 * or garbage, by chance. Killed alone, a process loses nothing: the system still has all that it wrote.
 *
 * C1. Only bytes that were written are touched, never their neighbours: SQLite counts on that ("powersafe overwrite").
 * C2. Within a write each sector fares by itself.
 * C3. Of a folder's unsynced names the last ones are undone, as journaling file systems do, and never one that stands
 *     before another that stays.
 */
import { closeSync, existsSync, ftruncateSync, linkSync, openSync, readSync, renameSync, rmSync, statSync, writeSync } from "node:fs";
import type { Chance } from "../simulation/world/chance.ts";
import type { DiskTrace, NameChange, Range, TracedFile } from "./disk-trace.ts";

const SECTOR_BYTES = 512;

/** What was done. */
export interface Cut {
  /** Damaged bytes, by file. */
  readonly bytes: Record<string, number>;
  /** Names that are not there any more. */
  readonly names: readonly string[];
}

type Fate = "kept" | "zeros" | "garbage";

export function cutPower(trace: DiskTrace, chance: Chance): Cut {
  const bytes: Record<string, number> = {};
  for (const [file, traced] of trace.files) {
    if (!existsSync(file) || traced.writes.length === 0) continue;
    const damaged = damage(file, traced, chance);
    if (damaged > 0) bytes[file] = damaged;
  }
  const folders = new Set(trace.names.map(({ folder }) => folder));
  const names = [...folders].flatMap((folder) =>
    undo(
      trace.names.filter((change) => change.folder === folder),
      chance,
    ),
  );
  return { bytes, names };
}

/** Gives how many bytes were lost or changed. */
function damage(file: string, { writes, syncedBytes }: TracedFile, chance: Chance): number {
  // Most often all of it fares alike, as when the disk had taken nothing yet.
  const alike = chance.pick<Fate | "cut off" | undefined>(["kept", "zeros", "garbage", "cut off", undefined, undefined]);
  const handle = openSync(file, "r+");
  try {
    const { size } = statSync(file);
    if (alike === "cut off" && size > syncedBytes) {
      const rest = syncedBytes + Math.floor(chance.next() * ((size - syncedBytes) / SECTOR_BYTES)) * SECTOR_BYTES;
      ftruncateSync(handle, rest);
      return size - rest + strike(handle, merged(writes, rest), chance, "garbage");
    }
    return strike(handle, merged(writes, size), chance, alike === "cut off" ? "garbage" : alike);
  } finally {
    closeSync(handle);
  }
}

function strike(handle: number, ranges: readonly Range[], chance: Chance, alike: Fate | undefined): number {
  let damaged = 0;
  for (const { from, to } of ranges) {
    for (let at = from; at < to;) {
      const end = Math.min(to, (Math.floor(at / SECTOR_BYTES) + 1) * SECTOR_BYTES);
      const fate = alike ?? chance.pick<Fate>(["kept", "zeros", "garbage"]);
      if (fate !== "kept") damaged += overwrite(handle, at, end - at, fate, chance);
      at = end;
    }
  }
  return damaged;
}

function overwrite(handle: number, at: number, length: number, fate: Fate, chance: Chance): number {
  const before = Buffer.alloc(length);
  readSync(handle, before, 0, length, at);
  const after = fate === "zeros" ? Buffer.alloc(length) : garbage(length, chance);
  writeSync(handle, after, 0, length, at);
  return before.equals(after) ? 0 : length;
}

function garbage(length: number, chance: Chance): Buffer {
  const words = Uint32Array.from({ length: Math.ceil(length / 4) }, () => chance.next() * 2 ** 32);
  return Buffer.from(words.buffer, 0, length);
}

/** Those within the file, each byte once. */
function merged(writes: readonly Range[], size: number): Range[] {
  const result: { from: number; to: number }[] = [];
  for (const { from, to } of writes.toSorted((a, b) => a.from - b.from)) {
    const last = result.at(-1);
    const end = Math.min(to, size);
    if (last !== undefined && from <= last.to) last.to = Math.max(last.to, end);
    else if (from < end) result.push({ from, to: end });
  }
  return result;
}

function undo(changes: readonly NameChange[], chance: Chance): string[] {
  const undoable = changes.slice(changes.findLastIndex(({ kind }) => kind === "replaced") + 1);
  const undone = undoable.slice(chance.whole(0, undoable.length)).toReversed();
  for (const change of undone) {
    if (change.kind === "made") rmSync(change.path, { force: true });
    if (change.kind === "unlinked" && existsSync(change.other)) linkSync(change.other, change.path);
    if (change.kind === "renamed" && existsSync(change.path)) renameSync(change.path, change.from);
  }
  return undone.flatMap((change) => (change.kind === "made" || change.kind === "renamed" ? [change.path] : []));
}
