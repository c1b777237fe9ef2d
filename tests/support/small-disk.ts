/** A disk of a few MiB in the place of a folder, which a test can fill to the last byte and empty again. */
import { execFileSync, spawnSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";
import path from "node:path";

/** Mounting is root's. */
export const canMount = process.platform === "linux" && process.getuid?.() === 0 && spawnSync("mount", ["--version"]).status === 0;

export interface SmallDisk {
  /** Not a byte more can be written. */
  fill(): void;
  makeRoom(): void;
  unmount(): void;
}

export function mountSmallDisk(folder: string, mebibytes: number): SmallDisk {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${mebibytes}m,mode=0700`, "tmpfs", folder]);
  const ballast = path.join(folder, "ballast");
  return {
    fill: () => fill(ballast),
    makeRoom: () => rmSync(ballast, { force: true }),
    // Lazily: whatever still has a file open there ends a moment later.
    unmount: () => void execFileSync("umount", ["--lazy", folder]),
  };
}

function fill(file: string): void {
  const handle = openSync(file, "a");
  try {
    for (let size = 1024 ** 2; size >= 1;) {
      try {
        writeSync(handle, Buffer.alloc(size));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
        size = Math.floor(size / 2);
      }
    }
  } finally {
    closeSync(handle);
  }
}
