/** A disk of a few MiB in the place of a folder, which a test can fill to the last byte, or the last file, and empty again. */
import { execFileSync, spawnSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";
import path from "node:path";

/** Mounting is root's. */
export const canMount = process.platform === "linux" && process.getuid?.() === 0 && spawnSync("mount", ["--version"]).status === 0;

export interface SmallDisk {
  /** Not a byte more can be written. */
  fill(): void;
  /** Not a file more can be made; with bytes to spare. */
  fillFiles(): void;
  makeRoom(): void;
  unmount(): void;
}

const FILES_MAX = 256;

export function mountSmallDisk(folder: string, mebibytes: number): SmallDisk {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${mebibytes}m,nr_inodes=${FILES_MAX},mode=0700`, "tmpfs", folder]);
  const ballast = path.join(folder, "ballast");
  const files = Array.from({ length: FILES_MAX }, (_, n) => `${ballast}.${n}`);
  return {
    fill: () => fill(ballast),
    fillFiles: () => untilFull(() => files.forEach((file) => closeSync(openSync(file, "a")))),
    makeRoom: () => [ballast, ...files].forEach((file) => rmSync(file, { force: true })),
    // Lazily: whatever still has a file open there ends a moment later.
    unmount: () => void execFileSync("umount", ["--lazy", folder]),
  };
}

function fill(file: string): void {
  const handle = openSync(file, "a");
  try {
    for (let size = 1024 ** 2; size >= 1;) {
      if (untilFull(() => writeSync(handle, Buffer.alloc(size)))) size = Math.floor(size / 2);
    }
  } finally {
    closeSync(handle);
  }
}

/** True when there was no room for it. */
function untilFull(work: () => unknown): boolean {
  try {
    work();
    return false;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
    return true;
  }
}
